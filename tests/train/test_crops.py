"""The sizes of crops follow the image size, so that a network is tested as it was trained."""

import json
import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet import main, preview
from resnet_alexnet.data.photos import PhotoSource
from resnet_alexnet.data.readers.tfds import TfdsPhotos
from resnet_alexnet.data.sources import prepared_side
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import weights
from resnet_alexnet.train.crops import create_crops, describe_crops, fill_sizes, in_proportion
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.start import start_run
from resnet_alexnet.workdir.config import load_overridden
from tests.support.networks import create_network
from tests.support.photo_sets import write_folder


def groups(*words, recipe="default"):
    config = load_overridden(recipe, [f"--config.{word}" for word in words])
    return fill_sizes(config.preprocess, config.augment, None)


@pytest.mark.parametrize(
    ("size", "shorter_side", "scale"),
    [(224, 256, (256, 480)), (64, 73, (73, 137)), (448, 512, (512, 960)), (112, 128, (128, 240)), (1, 1, (1, 2))],
)
def test_unset_sizes_are_in_the_papers_proportion(size, shorter_side, scale):
    preprocess, augment = groups(f"preprocess.image_size={size}", "augment.crop=random_crop")
    assert (preprocess["shorter_side"], augment["scale"]) == (shorter_side, scale)
    assert create_crops(preprocess, augment).test.keywords["shorter_side"] == shorter_side
    assert describe_crops(preprocess, augment) == [f"test view: shorter side {shorter_side}, center {size}"]


@given(size=st.integers(1, 10_000))
def test_the_test_crop_fits_at_any_size(size):
    assert size <= in_proportion(256, size) <= in_proportion(480, size)


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        ((), None),
        (("preprocess.shorter_side=256",), "6% of a square photograph, a training crop 54%"),
        (("preprocess.shorter_side=128",), "25% of a square photograph, a training crop 54%"),
        (("preprocess.shorter_side=90",), None),
        (("preprocess.shorter_side=64",), None),
        (("augment.area=(0.05,0.1)",), "77% of a square photograph, a training crop 8%"),
        (("augment.crop=random_crop",), None),
        (("augment.crop=random_crop", "preprocess.shorter_side=256"), "6% .*, a training crop 22% to 77%"),
        (("augment.crop=random_crop", "augment.scale=(256,480)"), "77% .*, a training crop 2% to 6%"),
        (("augment.crop=random_crop", "augment.scale=(256,480)", "preprocess.shorter_side=256"), None),
    ],
)
def test_a_mismatch_that_is_set_by_hand_is_a_warning(words, warning):
    lines = describe_crops(*groups("preprocess.image_size=64", *words, recipe="finetune"))
    assert lines[0].startswith("test view: shorter side ")
    assert len(lines) == 1 + (warning is not None)
    if warning is not None:
        assert lines[1].startswith("warning: objects have another size in tests than in training: a test crop shows ")
        assert lines[1].endswith("unset, .shorter_side is 73)")
        assert re.search(warning, lines[1])


@pytest.mark.parametrize(
    ("recipe", "note", "scaled"),
    [
        ("imagenet_modern", "preprocess.shorter_side=232, {}, becomes 66 for 64", 66),
        ("alexnet", "augment.scale=(256, 256), {}, becomes (73, 73) for 64", 73),
        ("resnet18", "", 73),
    ],
)
def test_what_a_recipe_sets_for_its_image_size_is_scaled_with_it(recipe, note, scaled, capsys):
    preprocess, augment = groups("preprocess.image_size=64", recipe=recipe)
    printed = capsys.readouterr().err
    said = f"note: {note.format('which the recipe sets for images of 224 pixels')}\n" if note else ""
    assert printed == said
    assert preprocess["shorter_side"] == scaled
    assert describe_crops(preprocess, augment) == [f"test view: shorter side {scaled}, center 64"]
    groups("preprocess.image_size=224", recipe=recipe)
    preprocess, augment = groups("preprocess.image_size=64", "preprocess.shorter_side=70", recipe=recipe)
    assert preprocess["shorter_side"] == 70


@pytest.mark.parametrize(
    ("settings", "words", "enlarged"),
    [
        ({"encoding": "jpeg", "resize": 256}, (), 480),
        ({"encoding": "raw", "resize": 0}, (), 480),
        ({"encoding": "jpeg", "resize": 256}, ("augment.crop=random_resized_crop",), None),
        ({"encoding": "jpeg", "resize": 480}, (), None),
        ({"encoding": "jpeg", "resize": 0}, (), None),
        ({"encoding": "jpeg", "resize": 480}, ("preprocess.image_size=448", "augment.crop=random_resized_crop"), 512),
        ({"encoding": "raw", "resize": 0}, ("preprocess.image_size=64",), None),
    ],
)
def test_a_set_that_was_prepared_too_small_is_a_warning(tmp_path, settings, words, enlarged):
    (tmp_path / "manifest.json").write_text(json.dumps({"settings": settings}))
    photos = TfdsPhotos(tmp_path, "train", 0, 10, ("a", "b"), 3, "image", "label")
    side = prepared_side(PhotoSource(photos, (224, 224, 3), None, None))
    lines = describe_crops(*groups(*words, recipe="resnet18"), prepared_side=side)
    assert len(lines) == 1 + (enlarged is not None)
    if enlarged:
        assert lines[1].startswith(f"warning: photographs are enlarged to a shorter side of {enlarged} pixels")
        assert lines[1].endswith(f"--resize={enlarged}")


def photographs(folder, *words, recipe="resnet18"):
    """The words of a run on a folder of photographs."""
    fields = [
        *("dataset.name=image_folder", f"dataset.data_dir={folder}", "dataset.validation_fraction=0.25"),
        *("batch_size=8", "num_steps=1", "model.name=cifar_resnet8", "schedule.name=constant"),
    ]
    return [f"--config={recipe}", *(f"--config.{word}" for word in (*fields, *words))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photographs"), per_class=12)


def config_of(words):
    return main.read_run(main.create_parser().parse([*words, "--workdir=unused"]))[0]


def experiment_of(words):
    return create_experiment(config_of(words), jax.devices()[:1])


def test_one_flag_makes_a_run_whose_tests_see_what_training_sees(folder):
    experiment = experiment_of(photographs(folder, "preprocess.image_size=24", "model.bn_group=8"))
    assert experiment.inputs.notes == ("test view: shorter side 27, center 24",)
    preprocessing = experiment.model.spec.preprocessing
    assert (preprocessing.image_size, preprocessing.shorter_side) == (24, 27)
    train, validation = experiment.inputs.splits.train, experiment.inputs.splits.validation
    assert train.train_crop.keywords["scale"] == (27, 51)
    assert validation.test_crop.keywords["shorter_side"] == train.test_crop.keywords["shorter_side"] == 27
    assert preprocessing.mean.shape == (24, 24, 3)


def test_a_run_says_its_test_view_first(folder):
    config = config_of(photographs(folder, "preprocess.image_size=16", "model.bn_group=8"))
    experiment = create_experiment(config, jax.devices()[:1])
    _, messages, _ = start_run(experiment, config, SimpleNamespace(restore=lambda like: None))
    assert "test view: shorter side 18, center 16" in messages[:4]


def test_a_preview_says_the_test_view(folder, tmp_path, capsys):
    words = photographs(folder, "preprocess.image_size=24", "preprocess.shorter_side=99", "model.bn_group=8")
    preview.main([*words, f"--output={tmp_path / 'views.png'}", "--images=2", "--epochs=1"])
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == "test view: shorter side 99, center 24"
    assert second.startswith("warning: objects have another size in tests than in training")
    assert last.startswith("wrote")


@pytest.mark.parametrize(
    ("given", "image_size", "shorter_side"),
    [
        ((), 28, 32),
        (("preprocess.image_size=56",), 56, 64),
        (("preprocess.image_size=14", "preprocess.shorter_side=18"), 14, 18),
        (("preprocess.shorter_side=30",), 28, 30),
    ],
)
def test_fine_tuning_at_another_size_keeps_the_proportion_of_the_weights(
    folder, tmp_path, given, image_size, shorter_side
):
    file = tmp_path / "weights.safetensors"
    start = create_network(size=28, shorter_side=32)
    weights.save(start, file)
    words = photographs(
        folder, f"finetune.weights={file}", "augment.crop=random_resized_crop", *given, recipe="default"
    )
    preprocessing = experiment_of(words).model.spec.preprocessing
    assert (preprocessing.image_size, preprocessing.shorter_side) == (image_size, shorter_side)
    assert preprocessing.interpolation == "bilinear_antialiased"
    own = start.spec.preprocessing.mean
    expected = own if image_size == 28 else own.mean((0, 1))
    np.testing.assert_array_equal(preprocessing.mean, expected)


def test_a_resumed_run_keeps_the_sizes_of_its_checkpoint(folder, tmp_path):
    """As one of an older version, which took them from the weights whatever the config said."""
    file = tmp_path / "checkpoint.safetensors"
    weights.save(create_network(size=28, shorter_side=32), file)
    words = ("augment.crop=random_resized_crop", "finetune.weights=gone", "preprocess.shorter_side=256")
    config = config_of(photographs(folder, *words, recipe="default"))
    preprocessing = create_experiment(config, jax.devices()[:1], weights=file).model.spec.preprocessing
    assert (preprocessing.image_size, preprocessing.shorter_side) == (28, 32)


def test_a_mean_image_of_another_size_becomes_its_mean():
    preprocessing = create_network(size=16, shorter_side=None).spec.preprocessing
    other = preprocessing.at_size(8)
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    assert (other.image_size, other.shorter_side) == (8, None)
    np.testing.assert_allclose(other.normalize(image), preprocessing.normalize(image), rtol=1e-6)
    assert preprocessing.at_size(None).to_json() == preprocessing.to_json()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("preprocess.image_size=0",), r"^preprocess.image_size=0 \(allowed: 1 pixel or more\)"),
        (("preprocess.image_size=24", "preprocess.shorter_side=20"), "does not fit into preprocess.shorter_side=20"),
        (("preprocess.image_size=24", "augment.scale=(20,30)"), r"augment.scale=\(20, 30\)"),
        ((), "augment.crop='random_crop' needs the side of the crops"),
    ],
)
def test_sizes_that_cannot_be_are_one_line(words, message):
    with pytest.raises(InputError, match=message):
        create_crops(*groups("augment.crop=random_crop", *words))


@pytest.mark.parametrize(
    ("model", "size", "left", "suggested"),
    [
        ("resnet18", 32, (8, 1), "cifar_resnet20"),
        ("resnet50", 28, (7, 1), "cifar_resnet20"),
        ("plain18", 48, (12, 2), "cifar_plain20"),
        ("resnet18", 64, None, None),
        ("cifar_resnet8", 32, None, None),
        ("alexnet_cifar", 32, None, None),
    ],
)
def test_a_network_for_photographs_on_small_images_gets_a_note(model, size, left, suggested):
    words = ["--config=default", f"--config.model.name={model}", "--config.dataset.name=synthetic"]
    notes = experiment_of([*words, f"--config.preprocess.image_size={size}", "--config.batch_size=8"]).model.notes
    if left is None:
        assert notes == ()
    else:
        (note,) = notes
        assert f"of {size} pixels, its 7x7 convolution and pooling leave {left[0]}, its last stage {left[1]};" in note
        assert note.endswith(f"--config.model.name={suggested}")
