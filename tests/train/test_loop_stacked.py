"""Training with stacked blocks, and with blocks that are computed again: the steps, checkpoints and weights of none."""

import itertools
import json

import jax
import numpy as np
import pytest

from resnet_alexnet import parallel, pretrained
from resnet_alexnet.features.extraction import find_layer
from resnet_alexnet.paths import is_within, partition
from resnet_alexnet.pretrained import weights
from resnet_alexnet.speed.steps import InferenceStep
from resnet_alexnet.train import loop
from resnet_alexnet.train.experiment import create_experiment, resident_data
from resnet_alexnet.workdir import checkpoint
from resnet_alexnet.workdir.leaves import to_leaves
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import tiny
from tests.support.images import photograph
from tests.support.networks import assert_same_network
from tests.support.scores import scores_of_images
from tests.support.trees import assert_same_leaves

FORMS = {
    "single": {},
    "stacked": {"model__scan": True},
    "stacked and again": {"model__scan": True, "model__remat": "blocks"},
}
BLOCKS = list(itertools.product(range(3), range(3)))  # (stage, block)


pytestmark = pytest.mark.slow


def config_of(form, **fields):
    """Three blocks a stage, of which two are equal, or one is named apart; all that treats arrays by name is on."""
    settings = {
        "model__name": "cifar_resnet20",
        "model__shortcut_padding": "both",
        "optim__ema_decay": 0.9,
        "optim__weight_decay": 0.01,
        "optim__decay_mask": "kernels",
        "optim__bias_learning_rate": 2.0,
        "optim__clip_norm": 1.0,
        "finetune__frozen": ("stem", "stages.0", "stages.1.2.conv1"),
        "finetune__lr_multipliers": ("stages/2=0.5", "stages/2/1/conv2=0.1"),
        "model__bn_group": "sync",
    }
    return tiny.config(**{**settings, **FORMS[form], **fields})


def begin(form, devices=2, **fields):
    config = config_of(form, **fields)
    experiment = create_experiment(config, jax.devices()[:devices])
    return config, experiment, parallel.replicated(experiment.steps.create_state, experiment.mesh)


def assert_close(ours, expected):
    """Equal up to rounding: sums in a loop may be vectorized in another order."""
    assert ours.keys() == expected.keys()
    for name, leaf in expected.items():
        scale = np.abs(leaf.astype(np.float64)).max(initial=0)
        if np.isfinite(scale):
            assert np.abs(leaf.astype(np.float64) - ours[name]).max(initial=0) <= 2e-5 * scale, name


def test_the_step_reduces_each_array_over_the_devices_once_and_nothing_in_a_loop():
    """With frozen kernels, which all devices have alike, in bfloat16, in micro-batches, in groups."""
    fields = {
        "finetune__frozen": ("stages.1",),
        "precision": "bfloat16",
        "accumulate_steps": 2,
        "model__bn_group": 2,
    }
    experiment = create_experiment(config_of("stacked and again", **fields), jax.devices()[:2])
    state, data = jax.eval_shape(
        lambda: (experiment.steps.create_state(), resident_data(experiment.inputs.splits.train))
    )
    chunk = {"index": jax.ShapeDtypeStruct((1, 16), np.int32)}
    program = experiment.steps.train_chunk.lower(state, data, chunk).as_text()
    _, trained = partition(
        (state.params, state.batch_stats), lambda name: is_within(name.split("/", 1)[1], ["stages.1"])
    )
    assert program.count("stablehlo.all_reduce") == len(jax.tree.leaves(trained)) + 1 + len(state.sums)  # 1: the loss


def test_the_inference_step_that_is_measured_takes_stacked_blocks():
    _, experiment, state = begin("stacked", devices=1)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    step = InferenceStep(experiment, (state.params, state.batch_stats), images, precision="float32")
    assert np.isfinite(step.logits()).all()


def train(workdir, monkeypatch, form, num_steps):
    """Trains as the command does, on two devices."""

    def create(config, **options):
        return create_experiment(config, jax.devices()[:2], **options)

    monkeypatch.setattr(loop, "create_experiment", create)
    every = {"eval__every_steps": 1, "log__every_steps": 1, "checkpoint__every_steps": 1, "checkpoint__keep": 1}
    loop.train_and_evaluate(config_of(form, num_steps=num_steps, **every), workdir)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of two steps that go on in the other form, one with single blocks first and one with stacked ones."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for steps, forms in ((1, ("single", "stacked and again")), (2, ("stacked and again", "single"))):
            for name, form in zip(("stacked", "single"), forms, strict=True):
                train(folder / name, monkeypatch, form, steps)
    return folder


def test_runs_go_on_in_the_other_form(runs):
    lines = [read_metrics(runs / name / "metrics.jsonl") for name in ("single", "stacked")]
    for key, count in (("train/loss", 2), ("val/loss", 2), ("test/loss", 1)):
        one, other = ([line[key] for line in some if key in line][-count:] for some in lines)
        assert len(one) == count
        np.testing.assert_allclose(other, one, rtol=1e-4)
    (_, single, metadata, _), (_, stacked, other, _) = (
        checkpoint.read(runs / name / "checkpoints") for name in ("single", "stacked")
    )
    assert_close(stacked, single)
    for option in ("scan", "remat"):
        other["network"]["options"].pop(option)
    assert json.dumps(metadata["network"]) == json.dumps(other["network"])


def test_frozen_blocks_and_no_others_stay_as_they_began(runs):
    (_, state), (_, stacked_state) = (begin(form)[1:] for form in ("single", "stacked"))
    start = to_leaves(state)
    assert_same_leaves(to_leaves(stacked_state), start)
    assert len(jax.tree.leaves(stacked_state)) < len(jax.tree.leaves(state)) == len(start)
    _, end, _, _ = checkpoint.read(runs / "stacked" / "checkpoints")
    kernels = {f"{stage}/{block}": f"params/stages/{stage}/{block}/conv1/conv/kernel" for stage, block in BLOCKS}
    unmoved = {block for block, name in kernels.items() if np.array_equal(end[name], start[name])}
    assert unmoved == {"0/0", "0/1", "0/2", "1/2"}


def test_the_weights_of_a_stacked_run_are_those_of_any_other(runs, tmp_path):
    network = pretrained.load_network(runs / "stacked")
    assert "ema/params/stages/1/2/conv1/conv/kernel" in checkpoint.read(runs / "stacked" / "checkpoints")[1]
    assert network.spec.options["scan"] is True
    weights.save(network, tmp_path / "w.safetensors")
    again = pretrained.load_network(tmp_path / "w.safetensors")
    assert_same_network(again, network)
    single = pretrained.load_network(tmp_path / "w.safetensors", scan=False, remat="blocks")
    assert_same_leaves(single.leaves(), network.leaves())
    weights.save(network, tmp_path / "theirs.safetensors", names="torchvision")
    assert_same_leaves(pretrained.load_network(tmp_path / "theirs.safetensors").leaves(), network.leaves())
    assert find_layer(network, "stages.1.2.conv1.conv").shape == (4, 4, 32)
    images = [photograph(8, 8, seed=seed, channels=1) for seed in range(3)]
    stacked, plain = scores_of_images([network, single], images)
    np.testing.assert_allclose(stacked, plain, rtol=1e-5)


def test_a_run_starts_from_the_weights_of_a_stacked_one_in_any_form(runs):
    for form in ("single", "stacked"):
        _, experiment, _ = begin(form, finetune__weights=str(runs / "stacked"), finetune__new_head=("head",))
        state = to_leaves(experiment.steps.create_state(experiment.model.start))
        leaves = pretrained.load_network(runs / "stacked").leaves()
        changed = {name for name, leaf in leaves.items() if not np.array_equal(leaf, state[name])}
        assert changed == {"params/head/kernel", "params/head/bias"}
