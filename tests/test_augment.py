"""The device's part of the augmentation, against slow loops and its own statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_alexnet import augment


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(jax.random.key(0), 4000)


def numbered(size):
    """An image whose pixels all differ and none is zero."""
    return np.arange(1, size * size + 1, dtype=np.float32).reshape(size, size, 1)


def test_normalize_subtracts_and_divides_in_float32():
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 2), np.uint8)
    mean, std = np.float32([100, 50]), np.float32([20, 10])
    out = augment.normalize(jnp.asarray(image), mean, std, jnp.float32)
    np.testing.assert_allclose(out, (image - mean.astype(np.float64)) / std, rtol=1e-6)
    assert augment.normalize(jnp.asarray(image), mean, std, jnp.bfloat16).dtype == jnp.bfloat16


def test_normalize_takes_a_mean_image():
    mean = numbered(4)
    assert not np.any(augment.normalize(jnp.asarray(mean[None], jnp.uint8), mean, np.float32(255), jnp.float32))


def test_random_crop_is_a_window_of_the_padded_image_and_every_window_is_as_likely(keys):
    pad, size = 1, 4
    image = numbered(size)
    crops = np.asarray(augment.random_crop(jnp.broadcast_to(image, (len(keys), size, size, 1)), keys, pad))
    padded = np.pad(image, [(pad, pad), (pad, pad), (0, 0)])
    windows = [padded[y : y + size, x : x + size] for y in range(2 * pad + 1) for x in range(2 * pad + 1)]
    counts = [int((crops == window).all((1, 2, 3)).sum()) for window in windows]
    assert sum(counts) == len(keys)  # every crop is one of the windows
    expected = len(keys) / len(windows)
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_square < 27.9  # 8 degrees of freedom, p = 0.0005


def test_random_flip_mirrors_half_of_the_images_left_to_right(keys):
    image = numbered(3)
    out = np.asarray(augment.random_flip(jnp.broadcast_to(image, (len(keys), 3, 3, 1)), keys))
    mirrored = (out == image[:, ::-1]).all((1, 2, 3))
    assert ((out == image).all((1, 2, 3)) | mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / len(keys) ** 0.5


def test_crop_and_flip_are_drawn_independently(keys):
    flips = np.asarray(
        augment.augment(jnp.broadcast_to(numbered(3), (len(keys), 3, 3, 1)), keys, flip=True)[:, 0, 0, 0] != 1
    )
    corner = np.asarray(augment.augment(jnp.broadcast_to(numbered(3), (len(keys), 3, 3, 1)), keys, pad=1)[:, 0, 0, 0])
    shifted = corner == 0
    assert abs(np.corrcoef(flips, shifted)[0, 1]) < 4 / len(keys) ** 0.5


def test_an_image_is_augmented_by_its_own_key_whatever_its_batch(keys):
    images = jnp.asarray(np.random.default_rng(1).normal(size=(8, 6, 6, 3)), jnp.float32)
    whole = augment.augment(images, keys[:8], pad=2, flip=True)
    parts = [augment.augment(images[i : i + 2], keys[i : i + 2], pad=2, flip=True) for i in range(0, 8, 2)]
    np.testing.assert_array_equal(whole, jnp.concatenate(parts))


def test_nothing_asked_for_changes_nothing(keys):
    images = jnp.ones((8, 4, 4, 1))
    np.testing.assert_array_equal(augment.augment(images, keys[:8]), images)
