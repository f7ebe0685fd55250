"""What is measured of the training set, and the preprocessing's way through JSON."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_alexnet.data import measure as measure_module
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.measure import measure
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.preprocessing import Preprocessing, create_preprocessing


@pytest.fixture
def source(monkeypatch):
    monkeypatch.setattr(measure_module, "_CHUNK", 7)  # several chunks, the last one short
    images = np.random.default_rng(0).integers(0, 256, (24, 5, 5, 3), np.uint8)
    return ArraySource(images=images, labels=np.arange(24, dtype=np.int32) % 2, classes=("cat", "dog"), name="test")


@pytest.mark.parametrize(("mean", "axes"), [("pixel", (0,)), ("channel", (0, 1, 2))], ids=["mean image", "mean color"])
def test_means_are_numpys(source, mean, axes):
    preprocessing = create_preprocessing(measure(source), classes=source.classes, mean=mean, std=True)
    np.testing.assert_allclose(preprocessing.mean, source.images.mean(axes), rtol=1e-6)
    np.testing.assert_allclose(preprocessing.std, source.images.std((0, 1, 2)), rtol=1e-6)
    assert (preprocessing.image_size, preprocessing.channels, preprocessing.classes) == (5, 3, ("cat", "dog"))


def test_no_mean_and_no_std_only_scales_to_one(source):
    preprocessing = create_preprocessing(measure(source), classes=source.classes, mean="none", std=False)
    np.testing.assert_array_equal(preprocessing.mean, np.zeros(3))
    np.testing.assert_array_equal(preprocessing.std, np.full(3, 255))


def checkpoint_metadata(mean, std):
    return Preprocessing(4, std.shape[-1], mean, std, classes=("cat", "dog"))


def test_normalize_subtracts_and_divides_in_float32():
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 2), np.uint8)
    preprocessing = checkpoint_metadata(np.float32([100, 50]), np.float32([20, 10]))
    out = preprocessing.normalize(jnp.asarray(image))
    np.testing.assert_allclose(out, (image - preprocessing.mean.astype(np.float64)) / preprocessing.std, rtol=1e-6)
    assert out.dtype == jnp.float32
    assert preprocessing.normalize(jnp.asarray(image), jnp.bfloat16).dtype == jnp.bfloat16


def test_normalize_subtracts_a_mean_image_or_from_images_of_another_size_its_mean():
    mean = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    preprocessing = checkpoint_metadata(mean, np.float32([2]))
    assert not np.any(preprocessing.normalize(jnp.asarray(mean[None], jnp.uint8)))
    np.testing.assert_array_equal(
        preprocessing.normalize(jnp.zeros((1, 5, 4, 1), jnp.uint8)), np.full((1, 5, 4, 1), -3.75)
    )


def test_an_unknown_mean_is_named(source):
    with pytest.raises(InputError, match=r"preprocess\.mean is 'pixels', did you mean 'pixel'"):
        create_preprocessing(measure(source), classes=source.classes, mean="pixels", std=False)


def test_the_record_survives_json_to_the_bit(source):
    preprocessing = create_preprocessing(measure(source), classes=source.classes, mean="pixel", std=True)
    back = Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json())))
    np.testing.assert_array_equal(back.mean, preprocessing.mean)
    np.testing.assert_array_equal(back.std, preprocessing.std)
    assert back.mean.dtype == np.float32
    assert (back.image_size, back.channels, back.classes) == (
        preprocessing.image_size,
        preprocessing.channels,
        preprocessing.classes,
    )
