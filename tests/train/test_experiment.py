"""From config fields to the parts of a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train.experiment import create_experiment, create_losses, keep_on_device, resident_data
from resnet_alexnet.train.inputs import create_augment, create_mix
from tests.support import tiny


def test_every_option_of_the_config_reaches_its_part():
    config = tiny.config(
        model__zero_init_last_gamma=True,
        optim__learning_rate=0.2,
        optim__reference_batch_size=64,
        optim__batch_size_rule="linear",
        schedule__name="plateau",
        schedule__patience=2,
        schedule__min_scale=0.01,
        eval__batch_size=5,
    )
    experiment = create_experiment(config)
    assert experiment.optimizer.learning_rate == pytest.approx(0.05)
    assert experiment.optimizer.plateau is not None
    assert (experiment.optimizer.plateau.patience, experiment.optimizer.plateau.min_scale) == (2, 0.01)
    assert experiment.steps.eval_batch_size == 8  # rounded up to the eight devices
    state = experiment.steps.create_state()
    assert not np.any(state.params["stages"][0][0]["conv2"]["norm"]["scale"])
    assert experiment.chance_loss == pytest.approx(np.log(10))


def test_seeds_give_different_networks_and_the_same_seed_the_same():
    first, again, other = (
        create_experiment(tiny.config(seed=seed)).steps.create_state().params["head"]["kernel"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 12}, "batch_size=12 does not divide among 8"),
        ({"batch_size": 400}, "batch_size=400 is more than the 180 training examples"),
        ({"model__bn_group": 4}, "model.bn_group=4 does not divide the 2 images of a device"),
        ({"model__num_logits": 3}, "model.num_logits=3, but dataset 'synthetic' has 10 classes"),
        ({"model__lrn": True}, "lrn"),
        ({"precision": "float16"}, "precision is 'float16', did you mean 'bfloat16'"),
        ({"dataset__on_device": "maybe"}, "dataset.on_device is 'maybe'"),
        ({"log__every_steps": 0}, "log.every_steps is 0"),
        ({"schedule__name": "plateau", "dataset__validation_fraction": 0.0}, "needs val/top1_error"),
        ({"model__num_logits": 1, "dataset__num_classes": 2}, "needs a binary loss"),
        ({"schedule__name": "plateau", "eval__every_steps": 0}, "set eval.every_steps above 0"),
        ({"model__bn_group": True}, "model.bn_group is True (allowed: int or str)"),
        ({"optim__weight_decay": float("inf")}, "optim.weight_decay is inf"),
        ({"schedule__factor": float("inf")}, "schedule.factor is inf"),
        ({"augment__color": "pca"}, "augment.color='pca' needs images with 3 channels, but these have 1"),
        ({"augment__color": "rgb"}, "augment.color is 'rgb'"),
        ({"augment__color_std": -0.1}, "augment.color_std is -0.1 (allowed: at least 0 and below inf)"),
        ({"augment__mixup": float("nan")}, "augment.mixup is nan"),
        ({"augment__cutmix": float("inf")}, "augment.cutmix is inf"),
        ({"augment__cutmix": 1.0, "batch_size": 8}, "each device has 1 per step: choose a batch_size"),
        ({"loss__class_weights": "balance"}, "loss.class_weights is 'balance', did you mean 'balanced'"),
        ({"loss__label_smoothing": 1.0}, "loss.label_smoothing is 1.0"),
        ({"optim__ema_decay": 1.0}, "optim.ema_decay is 1.0 (allowed: at least 0 and below 1)"),
        ({"optim__clip_norm": -1.0}, "optim.clip_norm is -1.0"),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(InputError) as error:
        create_experiment(tiny.config(**fields))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("fields", "devices", "layer"),
    [
        ({"batch_size": 8}, 8, "stages.2.0.conv1.norm"),
        ({"batch_size": 1}, 1, "stages.2.0.conv1.norm"),
        ({"model__bn_group": 1}, 1, "stages.2.0.conv1.norm"),
        ({"model__bn_group": 1, "model__name": "cifar_plain8"}, 8, "stages.2.0.conv1.norm"),
        ({"batch_size": 1, "model__name": "resnet18"}, 1, "stages.0.0.conv1.norm"),
        ({"batch_size": 8, "model__bn_group": "sync"}, 8, None),
        ({"batch_size": 8}, 4, None),
        ({"batch_size": 8, "preprocess__image_size": 8}, 8, None),
        ({"batch_size": 1, "model__name": "alexnet_owt", "preprocess__image_size": 64}, 1, None),
    ],
)
def test_batch_normalization_over_one_value_names_the_first_such_layer(fields, devices, layer):
    config = tiny.config(**{"preprocess__image_size": 4, "augment__pad": 0, **fields})
    if layer is None:
        create_experiment(config, jax.devices()[:devices])
    else:
        with pytest.raises(InputError, match=rf"^{layer}: batch normalization in training over 1 value per channel"):
            create_experiment(config, jax.devices()[:devices])


def test_a_single_logit_stands_for_two_classes():
    config = tiny.config(model__num_logits=1, dataset__num_classes=2, loss__name="binary_cross_entropy_with_logits")
    experiment = create_experiment(config, jax.devices()[:1])
    state = tiny.train(experiment, config, steps=2)
    assert state.params["head"]["kernel"].shape[-1] == 1
    assert set(state.sums) == {"count", "loss", "top1_errors"}
    assert experiment.chance_loss == pytest.approx(np.log(2))


def test_balanced_classes_count_alike_in_the_training_loss_only(tmp_path):
    labels = np.repeat(np.array([0, 1], np.int32), (36, 12))
    images = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 1), dtype=np.uint8)
    file = tmp_path / "set.npz"
    np.savez(file, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    data = {"dataset__name": "npz", "dataset__data_dir": str(file), "dataset__validation_fraction": 0.0}
    unset = {"dataset__num_classes": None, "dataset__num_examples": None, "augment__flip": False, "augment__pad": 0}
    config = tiny.config(**data, **unset, batch_size=48, loss__class_weights="balanced")
    experiment = create_experiment(config, jax.devices()[:1])
    mean = float(tiny.train(experiment, config, steps=1).sums["loss"]) / 48
    state = experiment.steps.create_state()
    model = nnx.merge(experiment.model.graphdef, state.params, state.batch_stats, copy=True)
    logits = np.asarray(model(experiment.inputs.preprocessing.normalize(images), train=True), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    each = [-log_p[labels == label, label].mean() for label in (0, 1)]
    assert mean == pytest.approx(np.mean(each), rel=1e-4)
    assert abs(mean - (0.75 * each[0] + 0.25 * each[1])) > 1e-2
    train_loss, eval_loss = create_losses(config.loss, (2 / 3, 2.0))
    logits, label = np.float32([[1, -1]]), np.array([1])
    assert float(train_loss(logits, label)[0]) == pytest.approx(2 * float(eval_loss(logits, label)[0]))


def test_small_sets_live_on_the_device_unless_told_otherwise():
    source = create_experiment(tiny.config()).inputs.splits.train
    assert isinstance(source, ArraySource)
    assert keep_on_device("auto", source)
    assert not keep_on_device("no", source)


def test_color_is_shifted_by_the_basis_times_draws_of_color_std_in_pixel_values():
    config = tiny.config(augment__color="pca_std", augment__color_std=0.3, augment__pad=0)
    covariance = np.array([[900.0, 500, 200], [500, 800, 100], [200, 100, 400]])
    preprocessing = Preprocessing(2, 3, np.zeros(3, np.float32), np.float32([50, 60, 70]), ("a", "b"))
    images, keys = jnp.zeros((4000, 2, 2, 3)), jax.random.split(jax.random.key(0), 4000)
    shifts = (
        np.asarray(create_augment(config.augment, preprocessing, covariance)(images, keys))[:, 0, 0] * preprocessing.std
    )
    np.testing.assert_allclose(np.cov(shifts.T), 0.3**2 * covariance, atol=0.1 * 0.3**2 * 900)


def test_a_single_logit_is_mixed_and_smoothed():
    config = tiny.config(
        model__num_logits=1,
        dataset__num_classes=2,
        loss__name="binary_cross_entropy_with_logits",
        loss__label_smoothing=0.1,
        augment__mixup=1.0,
        augment__cutmix=1.0,
    )
    mix = create_mix(mixup=1.0, cutmix=1.0, num_logits=1)
    assert mix is not None
    labels = jnp.arange(16) % 2
    _, label = mix(jnp.zeros((16, 4, 4, 1)), labels, jax.random.split(jax.random.key(0), 16))
    assert label.shape == (16, 1)
    np.testing.assert_allclose(label[::2] + label[1::2], 1, atol=1e-6)
    experiment = create_experiment(config, jax.devices()[:1])
    state = jax.eval_shape(experiment.steps.create_state)
    data = jax.eval_shape(lambda: resident_data(experiment.inputs.splits.train))
    chunk = {"index": jax.ShapeDtypeStruct((1, config.batch_size), jnp.int32)}
    after, _ = jax.eval_shape(experiment.steps.train_chunk, state, data, chunk)
    assert jax.tree.map(lambda leaf: leaf.shape, after) == jax.tree.map(lambda leaf: leaf.shape, state)


def test_without_mixing_and_averaging_there_is_neither():
    assert create_mix(mixup=0.0, cutmix=0.0, num_logits=10) is None
    experiment = create_experiment(tiny.config(), jax.devices()[:1])
    assert jax.eval_shape(experiment.steps.create_state).ema == {}
