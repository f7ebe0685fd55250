"""Evaluation counts every image once, whatever the batch size and the number of devices."""

import jax
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet import models, parallel
from resnet_alexnet.data.sources import ArraySource
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.validation import evaluate
from tests.support import tiny

IMAGES = 37  # no multiple of any batch below


@pytest.fixture(scope="module")
def odd_source():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 8, 8, 1), np.uint8)
    labels = rng.integers(0, 10, IMAGES).astype(np.int32)
    return ArraySource(images=images, labels=labels, classes=tuple("abcdefghij"), name="odd")


@pytest.fixture(scope="module")
def experiments():
    return {n: create_experiment(tiny.config(), jax.devices()[:n]) for n in (1, 8)}


@pytest.fixture(scope="module")
def expected(experiments, odd_source):
    """One image at a time, in numpy."""
    experiment = experiments[1]
    state = experiment.steps.create_state()
    model = models.create_model("cifar_resnet8", num_classes=10, image_size=8, channels=1, rngs=nnx.Rngs(0))
    nnx.update(model, state.params, state.batch_stats)
    preprocessing = experiment.model.spec.preprocessing
    logits = np.asarray(jax.jit(model)((odd_source.images - preprocessing.mean) / preprocessing.std), np.float64)
    loss, top1, top5 = 0.0, 0, 0
    for row, label in zip(logits, odd_source.labels, strict=True):
        loss += np.log(np.exp(row - row.max()).sum()) + row.max() - row[label]
        order = np.argsort(-row, kind="stable")
        top1 += order[0] != label
        top5 += label not in order[:5]
    return {"loss": loss / IMAGES, "top1_error": 100 * top1 / IMAGES, "top5_error": 100 * top5 / IMAGES}


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 1), (1, 16), (1, 64), (8, 8), (8, 40)])
def test_any_batch_size_and_device_count_gives_the_slow_loops_result(
    experiments, odd_source, expected, devices, batch_size
):
    experiment = experiments[devices]
    state = parallel.replicated(experiment.steps.create_state, experiment.mesh)
    rates = evaluate(
        experiment.steps.eval_step, *state.evaluated(), odd_source, batch_size=batch_size, mesh=experiment.mesh
    )
    assert rates == pytest.approx(expected, rel=1e-5)


def test_an_image_that_is_lost_is_noticed(experiments, odd_source):
    experiment = experiments[1]
    state = parallel.replicated(experiment.steps.create_state, experiment.mesh)

    def lossy(params, batch_stats, batch):
        return experiment.steps.eval_step(params, batch_stats, {**batch, "mask": batch["mask"].at[0].set(False)})

    with pytest.raises(RuntimeError, match="37 images to evaluate, 34 counted"):
        evaluate(lossy, *state.evaluated(), odd_source, batch_size=16, mesh=experiment.mesh)


def test_where_a_moving_average_is_kept_it_is_evaluated(experiments, odd_source, expected):
    experiment = experiments[1]
    state = parallel.replicated(experiment.steps.create_state, experiment.mesh)
    noise = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), state)
    averaged = noise.replace(ema={"params": state.params, "batch_stats": state.batch_stats})
    rates = [
        evaluate(experiment.steps.eval_step, *each.evaluated(), odd_source, batch_size=16, mesh=experiment.mesh)
        for each in (averaged, noise)
    ]
    assert rates[0] == pytest.approx(expected, rel=1e-5)
    assert rates[1]["loss"] != pytest.approx(expected["loss"], rel=1e-3)


def test_the_loss_is_that_of_the_labels_as_they_are_though_training_smooths_them(odd_source, expected):
    config = tiny.config(loss__label_smoothing=0.5, augment__mixup=1.0)
    experiment = create_experiment(config, jax.devices()[:1])
    state = parallel.replicated(experiment.steps.create_state, experiment.mesh)
    rates = evaluate(experiment.steps.eval_step, *state.evaluated(), odd_source, batch_size=16, mesh=experiment.mesh)
    assert rates == pytest.approx(expected, rel=1e-5)
