"""One split of a data set with whole images, to evaluate on."""

import shutil

import numpy as np
import pytest

from resnet_alexnet.data.single_split import open_split
from resnet_alexnet.data.sources import create_splits
from resnet_alexnet.errors import InputError
from tests.support import tfds_sets
from tests.support.images import encode, photograph
from tests.support.photo_sets import write_folder


@pytest.fixture
def folder(tmp_path):
    """36 training photographs and 9 test photographs of 16 x 20 pixels, in three classes."""
    write_folder(tmp_path, size=(16, 20))
    return write_folder(tmp_path, split="test", per_class=3, size=(16, 20))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_one_split_is_that_of_all_with_whole_images(folder, split):
    (folder / "train" / "ant" / "00.jpg").write_bytes(b"")  # nothing is decoded
    options = {"data_dir": str(folder), "validation_fraction": 0.25}
    everything = create_splits("image_folder", in_memory="no", **options)
    name, one = open_split(split, "image_folder", **options)
    other = getattr(everything, split)
    assert (name, len(one), one.classes) == (split, len(other), other.classes)
    for index in (1, len(one) - 1):
        assert one.where(index) == other.where(index)
        np.testing.assert_array_equal(one.example(index)[0], other.example(index)[0])
        assert one.example(index)[1] == other.example(index)[1]


def test_photographs_of_many_sizes_are_opened_whole(tmp_path):
    write_folder(tmp_path, split="train")
    _, source = open_split("train", "image_folder", data_dir=str(tmp_path), validation_fraction=0.0)
    shapes = [source.example(index)[0].shape for index in range(3)]
    assert shapes == [(30, 60, 3), (33, 58, 3), (36, 56, 3)]


def test_by_default_it_is_the_test_split_or_the_validation_split(folder):
    options = {"validation_fraction": 0.25}
    assert open_split("", "image_folder", data_dir=str(folder), **options)[0] == "test"
    shutil.rmtree(folder / "test")
    assert open_split("", "image_folder", data_dir=str(folder), **options)[0] == "validation"
    with pytest.raises(InputError, match=r"the split of image_folder is 'test' \(allowed: train, validation\)"):
        open_split("test", "image_folder", data_dir=str(folder), **options)
    message = r"has no test or validation split, and dataset\.validation_fraction=0 holds none out: --split=train takes"
    with pytest.raises(InputError, match=message):
        open_split("", "image_folder", data_dir=str(folder), validation_fraction=0.0)


def test_a_test_split_needs_no_validation_split(folder):
    options = {"data_dir": str(folder), "validation_fraction": 0.01}
    with pytest.raises(InputError, match="holds out no image"):
        open_split("validation", "image_folder", **options)
    assert len(open_split("test", "image_folder", **options)[1]) == 9


def test_nothing_is_held_out_where_the_test_split_is_taken(tmp_path):
    tfds_sets.write_set(tmp_path, {"train": [4], "test": [3]}, example=tfds_sets.small_example)
    for split in ("", "test"):
        found, source = open_split(split, "animals", data_dir=str(tmp_path), validation_fraction=0.1)
        assert (found, len(source)) == ("test", 3)
    with pytest.raises(InputError, match="holds out none of the 4 images"):
        open_split("validation", "animals", data_dir=str(tmp_path), validation_fraction=0.1)


def test_classes_of_photographs_of_many_sizes(tmp_path):
    def example(split, number):
        image = photograph(12 + number, 20 - number, seed=number)
        return {"image": encode(image, "PNG"), "label": number % 3, "file_name": f"{number}.png"}

    tfds_sets.write_set(tmp_path, {"test": [7]}, example=example)
    _, whole = open_split("test", "animals", data_dir=str(tmp_path))
    _, source = open_split("test", "animals", data_dir=str(tmp_path), classes=(whole.classes[2], whole.classes[0]))
    found = [source.example(index) for index in range(len(source))]
    assert [(image.shape[0] - 12, label) for image, label in found] == [(0, 1), (2, 0), (3, 1), (5, 0), (6, 1)]


@pytest.mark.parametrize("there", ["validation", "test"])
@pytest.mark.parametrize("name", ["image_folder", "animals"])
def test_a_set_without_training_split_can_be_evaluated_on(tmp_path, name, there):
    if name == "animals":
        tfds_sets.write_set(tmp_path, {there: [3]}, example=tfds_sets.small_example)
    else:
        write_folder(tmp_path, split=there, per_class=1)
    for split in ("", there):
        found, source = open_split(split, name, data_dir=str(tmp_path))
        assert (found, len(source)) == (there, 3)
    for other in {"train", "validation", "test"} - {there}:
        with pytest.raises(InputError, match=rf"the split of {name} is '{other}' .allowed: {there}."):
            open_split(other, name, data_dir=str(tmp_path))
    with pytest.raises(InputError, match=rf"{name} in {tmp_path} has no training split: it has only {there}"):
        create_splits(name, data_dir=str(tmp_path))


@pytest.mark.parametrize("name", ["fashion_mnist", "image_folder", "animals"])
def test_classes_of_one_split(tfds_root, folder, name):
    classes = ("Sneaker", "Bag") if name == "fashion_mnist" else ("cat", "ant")
    data_dir = "" if name == "fashion_mnist" else str(folder if name == "image_folder" else tfds_root)
    _, source = open_split("test", name, data_dir=data_dir, classes=classes)
    other = create_splits(name, data_dir=data_dir, classes=classes).test
    assert source.classes == classes
    assert len(source) == len(other)
    for index in range(0, len(source), 3):
        np.testing.assert_array_equal(source.example(index)[0], other.example(index)[0])
        assert source.example(index)[1] == other.example(index)[1]


def test_it_is_said_which_part_of_a_set_without_splits_is_taken(tmp_path):
    write_folder(tmp_path, per_class=12)  # of 3 classes
    lines = []
    options = {"data_dir": str(tmp_path), "report": lines.append}
    assert len(open_split("", "image_folder", **options)[1]) == 3
    taken = "these are the 3 images held out for validation (dataset.validation_fraction=0.1); --split=train takes the"
    whole = "other 33, or all 36 with --config.dataset.validation_fraction=0"
    assert lines == [f"image_folder has no test or validation split: {taken} {whole}"]
    lines.clear()
    assert len(open_split("train", "image_folder", **options)[1]) == 33
    assert len(open_split("validation", "image_folder", **options)[1]) == 3
    assert len(open_split("train", "image_folder", validation_fraction=0.0, **options)[1]) == 36
    assert not lines


@pytest.mark.parametrize("name", ["image_folder", "animals"])
def test_of_a_set_too_small_to_hold_anything_out_the_training_split_is_all(tmp_path, name):
    if name == "animals":
        tfds_sets.write_set(tmp_path, {"train": [6]}, example=tfds_sets.small_example)
    else:
        write_folder(tmp_path, per_class=2)
    message = f"{name} has no test or validation split, and is too small to hold 10% of each class out: --split=train"
    with pytest.raises(InputError, match=message):
        open_split("", name, data_dir=str(tmp_path))
    assert len(open_split("train", name, data_dir=str(tmp_path))[1]) == 6


def test_one_split_tells_which_classes_it_lacks(tmp_path):
    write_folder(tmp_path, per_class=12, classes=("ant", "bee"), size=(16, 20))
    write_folder(tmp_path, split="test", per_class=3, classes=("bee",), size=(16, 20))
    lines = []
    assert open_split("test", "image_folder", data_dir=str(tmp_path), report=lines.append)[0] == "test"
    assert lines == ["the test split has no image of 1 of the 2 classes: ant"]


def test_a_test_split_that_is_not_there_is_refused_as_one(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"the split of image_folder.*'?test'?.*train"):
        open_split("test", "image_folder", data_dir=str(tmp_path))
