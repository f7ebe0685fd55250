"""A user's own data set: read by the name of its file, and every breach of the contract in one line."""

import sys

import numpy as np
import pytest

from resnet_alexnet.data.loading.loader import train_chunks
from resnet_alexnet.data.sources import Crops, create_splits
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import load_guest
from tests.support.guests import SHAPES, write_shapes

PHOTOS = """
import io

import numpy as np
from PIL import Image


class Photos:
    classes, channels = ("dark", "light"), 3

    def __init__(self, count):
        self.labels = np.arange(count, dtype=np.int32) % 2

    def __len__(self):
        return len(self.labels)

    def read(self, index):
        file = io.BytesIO()
        Image.new("RGB", (10, 10), (200 * (index % 2),) * 3).save(file, "PNG")
        return file.getvalue(), int(self.labels[index])

    def where(self, index):
        return str(index)


def read(data_dir):
    return {"train": Photos(int(data_dir)), "test": Photos(4)}
"""


@pytest.fixture(autouse=True)
def same_path(monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))


def test_its_splits_are_those_of_the_function_and_a_part_is_held_out(tmp_path):
    splits = create_splits(write_shapes(tmp_path), validation_fraction=0.1)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 2, 20)
    assert splits.train.classes == ("square", "bar")
    assert create_splits(write_shapes(tmp_path), classes=("bar", "square")).test.classes == ("bar", "square")


def take_all(image, draw):
    return image


@pytest.mark.parametrize("file", ["some_photographs", "my-photographs", "json"])  # a module, none, and another's name
def test_its_photographs_are_read_by_worker_processes_too(tmp_path, file):
    crops = Crops(10, take_all, take_all)
    name = write_shapes(tmp_path, PHOTOS, name=file)
    network = tmp_path / "network.py"
    network.write_text("import os\nopen(f'{__file__}.{os.getpid()}', 'x').close()\nNETWORK = 1\n")
    load_guest(f"{network}:NETWORK", field="model.name")
    train = create_splits(name, data_dir="8", validation_fraction=0, crops=crops).train
    options = {"batch_size": 4, "seed": 0, "start_step": 0, "num_steps": 2, "rows": slice(0, 4)}
    chunks = [list(train_chunks(train, workers=workers, **options)) for workers in (0, 1)]
    for (_, here), (_, there) in zip(*chunks, strict=True):
        np.testing.assert_array_equal(here["image"], there["image"])
        np.testing.assert_array_equal(here["image"][..., 0, 0, 0], 200 * here["label"])
    assert len(list(tmp_path.glob("network.py.*"))) == 1  # which the workers do not need


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def read(data_dir)", "def read()", "TypeError: read.. takes 0 positional arguments"),
        ("def read(data_dir):", "read = 1\ndef other(data_dir):", "is int .needed: a function of data_dir"),
        ("np.zeros((2", "np.zeroes((2", "line 9: AttributeError: .*zeroes"),
        ("return {", "return list({", "SyntaxError"),
        ('"train":', '"training":', r"returns \['training', 'test'\] .needed: a dict with 'train'"),
        ('"test": ArraySource', '"test": 0 and ArraySource', "test is int without classes, labels, channels"),
        ('labels[1::2], ("square", "bar")', 'labels[1::2], ("bar", "square")', "test has other classes than train"),
        ("np.int32), 20", "np.int64), 20", "labels are int64"),
    ],
)
def test_a_breach_of_the_contract_is_one_line(tmp_path, old, new, message):
    assert old in SHAPES
    with pytest.raises(InputError, match=message) as raised:
        create_splits(write_shapes(tmp_path, SHAPES.replace(old, new)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("np.arange(count)", "must be an int32 array of 6"),
        ("np.full(count, 2, np.int32)", "into the 2 cl"),
    ],
)
def test_photographs_need_labels(tmp_path, new, message):
    text = PHOTOS.replace("np.arange(count, dtype=np.int32) % 2", new)
    with pytest.raises(InputError, match=message):
        create_splits(write_shapes(tmp_path, text), data_dir="6")


def test_options_of_tfds_are_refused(tmp_path):
    with pytest.raises(InputError, match="is for the sets of TFDS"):
        create_splits(write_shapes(tmp_path), test_split="test")
