"""What is measured of the training set, and the record's way through JSON."""

import json

import numpy as np
import pytest

from resnet_alexnet.data import preprocessing
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.preprocessing import Preprocessing, create_preprocessing, measure
from resnet_alexnet.errors import InputError


@pytest.fixture
def source(monkeypatch):
    monkeypatch.setattr(preprocessing, "_CHUNK", 7)  # several chunks, the last one short
    images = np.random.default_rng(0).integers(0, 256, (24, 5, 5, 3), np.uint8)
    return ArraySource(images=images, labels=np.arange(24, dtype=np.int32) % 2, classes=("cat", "dog"), name="test")


@pytest.mark.parametrize(("mean", "axes"), [("pixel", (0,)), ("channel", (0, 1, 2))], ids=["mean image", "mean colour"])
def test_means_are_numpys(source, mean, axes):
    record = create_preprocessing(measure(source), classes=source.classes, mean=mean, std=True)
    np.testing.assert_allclose(record.mean, source.images.mean(axes), rtol=1e-6)
    np.testing.assert_allclose(record.std, source.images.std((0, 1, 2)), rtol=1e-6)
    assert (record.image_size, record.channels, record.classes) == (5, 3, ("cat", "dog"))


def test_no_mean_and_no_std_only_scales_to_one(source):
    record = create_preprocessing(measure(source), classes=source.classes, mean="none", std=False)
    np.testing.assert_array_equal(record.mean, np.zeros(3))
    np.testing.assert_array_equal(record.std, np.full(3, 255))


def test_an_unknown_mean_is_named(source):
    with pytest.raises(InputError, match=r"augment\.mean is 'pixels', did you mean 'pixel'"):
        create_preprocessing(measure(source), classes=source.classes, mean="pixels", std=False)


def test_the_record_survives_json_to_the_bit(source):
    record = create_preprocessing(measure(source), classes=source.classes, mean="pixel", std=True)
    back = Preprocessing.from_json(json.loads(json.dumps(record.to_json())))
    np.testing.assert_array_equal(back.mean, record.mean)
    np.testing.assert_array_equal(back.std, record.std)
    assert back.mean.dtype == np.float32
    assert (back.image_size, back.channels, back.classes) == (record.image_size, record.channels, record.classes)
