"""From config fields to the parts of a run."""

import jax
import numpy as np
import pytest

from resnet_alexnet import build
from resnet_alexnet.data.sources import Splits
from resnet_alexnet.errors import InputError
from tests import tiny


def test_every_option_of_the_config_reaches_its_part():
    config = tiny.config(
        model__zero_init_last_gamma=True,
        optim__learning_rate=0.2,
        optim__reference_batch_size=64,
        optim__batch_size_rule="linear",
        schedule__name="plateau",
        schedule__patience=2,
        schedule__floor=0.01,
        eval__batch_size=5,
    )
    experiment = build.create_experiment(config)
    assert experiment.optimizer.learning_rate == pytest.approx(0.05)
    assert experiment.optimizer.plateau is not None
    assert (experiment.optimizer.plateau.patience, experiment.optimizer.plateau.floor) == (2, 0.01)
    assert experiment.eval_batch_size == 8  # rounded up to the eight devices
    state = experiment.create_state()
    assert not np.any(state.params["stages"][0][0]["conv2"]["norm"]["scale"])
    assert experiment.chance_loss == pytest.approx(np.log(10))


def test_seeds_give_different_networks_and_the_same_seed_the_same():
    first, again, other = (
        build.create_experiment(tiny.config(seed=seed)).create_state().params["head"]["kernel"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 12}, "batch_size=12 does not divide among 8"),
        ({"batch_size": 400}, "batch_size=400 is more than the 180 training examples"),
        ({"model__bn_group": 4}, "model.bn_group=4 does not divide the 2 images of a device"),
        ({"model__num_classes": 3}, "model.num_classes=3, but dataset 'synthetic' has 10 classes"),
        ({"model__lrn": True}, "lrn"),
        ({"precision": "float16"}, "precision is 'float16', did you mean 'bfloat16'"),
        ({"dataset__on_device": "maybe"}, "dataset.on_device is 'maybe'"),
        ({"log__every_steps": 0}, "log.every_steps is 0"),
        ({"schedule__name": "plateau", "dataset__validation_fraction": 0.0}, "needs val/top1_error"),
        ({"model__num_classes": 1, "dataset__num_classes": 2}, "wants a binary loss"),
        ({"schedule__name": "plateau", "eval__every_steps": 0}, "set eval.every_steps above 0"),
        ({"model__bn_group": True}, "model.bn_group is True (allowed: int or str)"),
        ({"optim__weight_decay": float("inf")}, "optim.weight_decay is inf"),
        ({"schedule__factor": float("inf")}, "schedule.factor is inf"),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(InputError) as error:
        build.create_experiment(tiny.config(**fields))
    assert message in str(error.value)


def test_a_single_logit_stands_for_two_classes():
    config = tiny.config(model__num_classes=1, dataset__num_classes=2, loss__name="binary_cross_entropy_with_logits")
    experiment = build.create_experiment(config, jax.devices()[:1])
    state = tiny.train(experiment, config, steps=2)
    assert state.params["head"]["kernel"].shape[-1] == 1
    assert set(state.sums) == {"count", "loss", "top1_errors"}
    assert experiment.chance_loss == pytest.approx(np.log(2))


def test_small_sets_live_on_the_device_unless_told_otherwise():
    source = build.create_experiment(tiny.config()).splits.train
    assert isinstance(Splits(source, None, None).train, type(source))
    assert build.keep_on_device("auto", source)
    assert not build.keep_on_device("no", source)
