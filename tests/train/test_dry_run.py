"""A dry run: the batches, collectives and memory of a run on devices that need not exist."""

import dataclasses
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from resnet_alexnet import main, parallel
from resnet_alexnet.errors import InputError
from resnet_alexnet.train import dry_run
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.inputs import read_splits
from resnet_alexnet.train.stand_in import create_stand_in
from tests.support import processes, tiny

CONFIG = tiny.config(batch_size=128, dataset__num_examples=1000, model__bn_group=2, model__name="cifar_plain8")


@pytest.fixture(scope="module")
def eight():
    """The experiment on eight devices, and its compiled step."""
    experiment = dry_run.create_dry_experiment(CONFIG, jax.devices())
    return experiment, dry_run.compile_step(CONFIG, experiment)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the command prints for 64 devices, which XLA_FLAGS does not offer; it runs in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    result = subprocess.run(
        [sys.executable, "-m", "resnet_alexnet.main", *processes.words(CONFIG), "--dry_run=64"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert not list(folder.iterdir())
    return result.stdout


def test_collectives_of_a_device_are_the_same_on_two_eight_and_sixty_four_devices(eight, printed):
    _, compiled = eight
    two = dry_run.compile_step(CONFIG, dry_run.create_dry_experiment(CONFIG, jax.devices()[:2]))
    found = [[(c.kind, c.shapes, c.bytes) for c in program.collectives] for program in (two, compiled)]
    assert found[0] == found[1]
    (kind, _, size) = found[0][0]
    sent = parallel.sent_bytes(dataclasses.replace(compiled.collectives[0], group_size=64), 64)
    assert re.search(rf"^{kind} +1 +{size:,} +{sent:,}$", printed, re.MULTILINE)


def test_the_batch_arithmetic(printed):
    for name, value in (
        ("images per update", "128 (batch_size)"),
        ("  per process of 8 devices", "16"),
        ("  per device", "2"),
        ("  per micro-batch", "2 (accumulate_steps=1)"),
        ("  normalized together", "2 (model.bn_group)"),
        ("image", "8 x 8 x 1, uint8; float32 in the network"),
        ("training images", "900 in 10 classes"),
        ("steps per epoch", "7"),
        ("steps", "40, 5.7 epochs"),
        ("data", "kept on each device"),
    ):
        assert re.search(rf"^{name} +{re.escape(value)}$", printed, re.MULTILINE), name


def test_pairs_of_devices_share_their_images():
    config = tiny.config(
        batch_size=32,
        accumulate_steps=2,
        mesh__towers=2,
        model__name="alexnet",
        dataset__name="synthetic",
        dataset__num_examples=64,
        dataset__num_classes=5,
        preprocess__image_size=63,
    )
    experiment = dry_run.create_dry_experiment(config, jax.devices())
    text = "\n".join(dry_run.describe_batch(config, experiment))
    for name, value in (("per process of 8 devices", 32), ("per pair of devices", 8), ("per micro-batch", 4)):
        assert re.search(rf"^  {name} +{value}\b", text, re.MULTILINE), text


def test_memory_is_the_bytes_of_the_arrays_and_the_temporaries_of_the_program(eight):
    experiment, compiled = eight
    state = jax.eval_shape(experiment.steps.create_state)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert compiled.arguments["params"] == 4 * parameters
    assert compiled.arguments["data"] == 900 * (8 * 8 + 4)
    assert compiled.arguments["batch"] == 16 * 4  # indices of its own share
    assert compiled.arguments["ema"] == 0
    assert compiled.temporaries > 0
    text = "\n".join(dry_run.describe_parameters(experiment))
    assert re.search(rf"^all +\d+ +{parameters:,}$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "fields",
    [
        {"dataset__num_examples": 205},
        {"dataset__name": "fashion_mnist", "preprocess__image_size": 28},
        {"dataset__name": "fashion_mnist", "preprocess__image_size": 28, "dataset__classes": ("Pullover", "Coat")},
    ],
)
def test_a_stand_in_has_the_shapes_of_the_data(fields):
    config = tiny.config(**fields)
    if config.dataset.name == "fashion_mnist":
        config.dataset.num_classes = config.dataset.num_examples = None
    groups = (config.dataset, config.preprocess, config.augment)
    ours, real = create_stand_in(*groups), read_splits(*groups)
    for split in ("train", "validation"):
        a, b = getattr(ours, split), getattr(real, split)
        assert (len(a), a.image_shape, len(a.classes)) == (len(b), b.image_shape, len(b.classes))
    texts = []
    for read in (create_stand_in, read_splits):
        experiment = create_experiment(config, jax.devices()[:1], read=read)
        texts.append([jax.eval_shape(experiment.steps.create_state), experiment.steps.resident])
    assert texts[0] == texts[1]


def test_photographs_have_the_size_of_their_crops_and_are_sent_for_each_step():
    config = tiny.config(
        dataset__name="image_folder",
        dataset__channels=None,
        preprocess__image_size=32,
        augment__crop="random_crop",
        augment__color="pca",
        augment__pad=0,
    )
    experiment = dry_run.create_dry_experiment(config, jax.devices())
    assert experiment.inputs.splits.train.image_shape == (32, 32, 3)
    assert not experiment.steps.resident
    assert experiment.inputs.preprocessing.mean.shape == (32, 32, 3)
    assert "sent to the devices for each step" in dry_run.describe_batch(config, experiment)[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dry_run=0"], "--dry_run=0 (allowed: a whole number from 1 to"),
        (["--dry_run=-4"], "--dry_run=-4 (allowed: a whole number from 1 to"),
        (["--dry_run=many"], "--dry_run=many (allowed"),
        (["--dry_run=8", "--profile=2"], "--profile is for a run, and --dry_run starts none"),
        (["--dry_run=8", "--config.dataset.name=image_folder"], "set dataset.num_examples, dataset.num_classes, "),
        (["--dry_run=3", "--config.batch_size=64"], "batch_size=64 does not divide among 3 device(s)"),
        (["--dry_run=8", "--config.model.bn_group=32"], "model.bn_group=32 does not divide the 8 images of a device"),
    ],
)
def test_bad_input_is_one_line(words, message, monkeypatch):
    monkeypatch.setattr(parallel, "create_fake_devices", lambda count: jax.devices()[:count])  # jax has started
    with pytest.raises(InputError) as error:
        main.main(["--config=quickstart", *words])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_stand_in_takes_no_memory():
    config = tiny.config(dataset__num_examples=1_000_000, preprocess__image_size=64)
    train = create_stand_in(config.dataset, config.preprocess, config.augment).train
    assert np.asarray(getattr(train, "images")).strides == (0, 0, 0, 0)  # noqa: B009
