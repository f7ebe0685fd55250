"""Corruptions against Pillow and slow loops, and what holds for all of them."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resnet_alexnet.data.corruptions import CORRUPTIONS, SEVERITIES, blur, corrupt, lower_contrast, shift
from resnet_alexnet.errors import InputError
from tests.support.images import photograph

NAMES = list(CORRUPTIONS)


def images(channels, side=32, count=12):
    return [photograph(side, side, channels=channels, seed=seed) for seed in range(count)]


@given(
    st.sampled_from(NAMES),
    st.integers(0, SEVERITIES),
    st.integers(8, 40),
    st.integers(8, 40),
    st.sampled_from([1, 3]),
    st.integers(0, 5),
)
def test_shape_and_type_are_kept_and_the_image_is_not_written_to(name, severity, height, width, channels, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    before = image.copy()
    corrupted = corrupt(image, name, severity, seed=seed, index=seed)
    assert (corrupted.shape, corrupted.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)
    if severity == 0:
        np.testing.assert_array_equal(corrupted, before)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [28, 64])
@pytest.mark.parametrize("name", NAMES)
def test_the_mean_distortion_grows_with_the_severity(name, side, channels):
    def distortion(severity):
        changed = [corrupt(image, name, severity, seed=0, index=i) for i, image in enumerate(images(channels, side))]
        pairs = zip(changed, images(channels, side), strict=True)
        return np.mean([np.abs(one.astype(float) - other).mean() for one, other in pairs])

    by_severity = [distortion(severity) for severity in range(SEVERITIES + 1)]
    assert by_severity[0] == 0
    assert (np.diff(by_severity) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_draws_depend_on_the_seed_and_the_number_of_the_image_alone(name):
    image, random = photograph(32, 32), name in ("noise", "shift")
    first, again = (corrupt(image, name, 3, seed=1, index=5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    others = [corrupt(image, name, 3, seed=1, index=index) for index in range(6, 20)]
    others += [corrupt(image, name, 3, seed=seed, index=5) for seed in range(2, 20)]
    assert any(not np.array_equal(first, other) for other in others) == random


def test_noise_has_its_standard_deviation_and_is_the_same_at_each_severity():
    gray = np.full((64, 64, 3), 128, np.uint8)
    noises = [corrupt(gray, "noise", severity, seed=3, index=7) - 128.0 for severity in range(1, 6)]
    for noise, sigma in zip(noises, (10.2, 15.3, 20.4, 22.95, 25.5), strict=True):
        assert abs(noise.mean()) < 4 * sigma / math.sqrt(gray.size)
        assert noise.std() == pytest.approx(sigma, rel=0.03)
        np.testing.assert_allclose(noise, sigma / 10.2 * noises[0], atol=0.5 + 0.5 * sigma / 10.2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.3])
def test_blur_is_a_convolution(channels, sigma):
    image, radius = photograph(9, 12, channels=channels), int(4 * sigma + 0.5)
    offsets = range(-radius, radius + 1)
    weights = {(y, x): math.exp(-(y * y + x * x) / (2 * sigma**2)) for y in offsets for x in offsets}
    expected = np.zeros(image.shape)
    for row in range(9):
        for column in range(12):
            for (y, x), weight in weights.items():
                near = image[min(max(row + y, 0), 8), min(max(column + x, 0), 11)]
                expected[row, column] += weight * near / sum(weights.values())
    blurred = blur(image, sigma, np.random.default_rng(0))
    assert np.abs(blurred - expected).max() <= 0.5 + 1e-6  # rounded, and no more


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("severity", "quality"), [(1, 80), (3, 58), (5, 40)])
def test_jpeg_is_that_of_pillow(channels, severity, quality):
    image, file = photograph(28, 32, channels=channels), io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, format="JPEG", quality=quality)
    with Image.open(file) as picture:
        expected = np.asarray(picture).reshape(image.shape)
    np.testing.assert_array_equal(corrupt(image, "jpeg", severity, seed=0, index=0), expected)


def test_contrast_keeps_the_mean_of_each_channel():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0], image[1] = (100, 40, 10), (200, 60, 10)
    lowered = lower_contrast(image, 0.5, np.random.default_rng(0))
    assert lowered[:, 0].tolist() == [[125, 45, 10], [175, 55, 10]]


def test_a_shift_moves_all_pixels_alike_and_repeats_the_edge():
    image, seen = np.arange(36, dtype=np.uint8).reshape(6, 6, 1), set()
    for seed in range(60):
        moved = shift(image, 2, np.random.default_rng(seed))
        down, right = next(
            (down, right)
            for down in (-2, 0, 2)
            for right in (-2, 0, 2)
            if all(
                moved[y, x] == image[min(max(y - down, 0), 5), min(max(x - right, 0), 5)]
                for y in range(6)
                for x in range(6)
            )
        )
        seen.add((down, right))
    assert len(seen) == 8
    assert (0, 0) not in seen


def test_lengths_grow_with_the_image_and_other_amounts_do_not():
    amounts = {name: [each.amount(2, side) for side in (8, 32, 64, 224)] for name, each in CORRUPTIONS.items()}
    assert amounts["blur"] == pytest.approx([0.15, 0.6, 1.2, 4.2])
    assert amounts["shift"] == [1, 2, 4, 14]
    assert amounts["noise"] == [15.3] * 4
    assert amounts["jpeg"] == [65] * 4
    assert amounts["contrast"] == [0.5] * 4


@pytest.mark.parametrize(
    ("name", "severity", "channels", "message"),
    [
        ("nois", 1, 3, "corruption is 'nois', did you mean 'noise'"),
        ("noise", 6, 3, r"severity=6 .allowed: 0 to 5"),
        ("noise", 1, 2, "images of 2 channels cannot be corrupted .allowed: 1, gray, or 3, color"),
    ],
)
def test_what_is_not_there_is_named(name, severity, channels, message):
    with pytest.raises(InputError, match=message):
        corrupt(np.zeros((8, 8, channels), np.uint8), name, severity, seed=0, index=0)
