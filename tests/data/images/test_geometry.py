"""The views, against slow loops and Pillow, and the statistics of what is drawn."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resnet_alexnet.data.images import geometry
from resnet_alexnet.data.images.decode import UnreadableImageError
from resnet_alexnet.data.images.geometry import (
    RandomResizedCrop,
    center_crop,
    resize,
    resize_center_crop,
    resize_random_crop,
    resize_shorter_side,
)
from tests.support.images import photograph


def slow_bilinear(image, height, width):
    """Pixel centers at half coordinates, the four nearest pixels, edges repeated."""
    rows, columns, channels = image.shape
    out = np.zeros((height, width, channels))
    for y in range(height):
        for x in range(width):
            sy, sx = (y + 0.5) * rows / height - 0.5, (x + 0.5) * columns / width - 0.5
            y0, x0 = int(np.floor(sy)), int(np.floor(sx))
            for dy, wy in ((0, 1 - (sy - y0)), (1, sy - y0)):
                for dx, wx in ((0, 1 - (sx - x0)), (1, sx - x0)):
                    source = image[min(max(y0 + dy, 0), rows - 1), min(max(x0 + dx, 0), columns - 1)]
                    out[y, x] += wy * wx * source
    return out


@pytest.mark.parametrize("size", [(20, 30), (13, 17), (55, 71), (40, 60)])
def test_bilinear_is_that_of_a_plain_loop(size):
    image = photograph()
    np.testing.assert_allclose(resize(image, *size).astype(float), slow_bilinear(image, *size), atol=1.01)


@pytest.mark.parametrize("factor", [2, 4, 5])
def test_area_is_the_mean_of_the_pixels_that_fall_together(factor):
    image = photograph(40, 60)
    blocks = image.reshape(40 // factor, factor, 60 // factor, factor, 3).mean((1, 3))
    np.testing.assert_allclose(resize(image, 40 // factor, 60 // factor, "area"), blocks, atol=0.51)


@pytest.mark.parametrize(
    ("name", "theirs"), [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)]
)
def test_enlarging_is_pillows(name, theirs):
    # Where nothing shrinks there is nothing for Pillow to smooth; its bicubic has a = -0.5, OpenCV's -0.75.
    image = photograph()
    expected = np.asarray(Image.fromarray(image).resize((150, 100), theirs)).astype(float)
    difference = np.abs(resize(image, 100, 150, name) - expected)
    assert difference.mean() < (0.3 if name == "bilinear" else 1.5)


@given(height=st.integers(1, 60), width=st.integers(1, 60), size=st.integers(1, 60), channels=st.sampled_from([1, 3]))
def test_the_shorter_side_gets_its_size_and_the_longer_its_share(height, width, size, channels):
    image = resize_shorter_side(np.zeros((height, width, channels), np.uint8), size)
    assert min(image.shape[:2]) == size
    assert max(image.shape[:2]) == max(height, width) * size // min(height, width)
    assert image.shape[2] == channels


@pytest.mark.parametrize(("margin", "before"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4)])
def test_half_an_odd_margin_is_rounded_to_even(margin, before):
    image = np.arange(12 * (4 + margin)).reshape(12, 4 + margin, 1).astype(np.uint8)
    np.testing.assert_array_equal(center_crop(image, 12, 4), image[:, before : before + 4])
    turned = image.transpose(1, 0, 2)
    np.testing.assert_array_equal(center_crop(turned, 4, 12), turned[before : before + 4])


def test_the_center_is_torchvisions():
    from tests.support import torch_peers  # here: where it is not installed only this test is skipped

    theirs = torch_peers.torchvision.transforms.functional.center_crop

    for height, width in itertools.product(range(8, 17), repeat=2):
        image = photograph(height, width)
        np.testing.assert_array_equal(center_crop(image, 8, 8), np.asarray(theirs(Image.fromarray(image), [8, 8])))


def test_the_view_for_testing_is_the_center_of_the_resized_photograph():
    image = photograph(50, 90)
    resized = slow_bilinear(image, 32, 57)
    crop = resize_center_crop(image, None, size=28, shorter_side=32, interpolation="bilinear")
    np.testing.assert_allclose(crop.astype(float), resized[2:30, 14:42], atol=1.01)


def crops(crop, image, count):
    return [crop(image, np.random.default_rng([7, number])) for number in range(count)]


def position_image(height, width):
    """An image whose pixels tell where they are, so that a crop that is not resized tells where it was cut."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(height)[:, np.newaxis], np.arange(width)
    return image


def chi_square(counts):
    expected = np.sum(counts) / len(counts)
    return float(np.sum((np.asarray(counts) - expected) ** 2 / expected))


def test_every_position_of_a_random_crop_is_as_likely():
    crop = functools.partial(
        resize_random_crop, size=30, scale=(32, 32), central_square=False, interpolation="bilinear"
    )
    found = [crop[0, 0, :2] for crop in crops(crop, position_image(32, 36), 4000)]
    counts = np.zeros((3, 7), int)
    for y, x in found:
        counts[y, x] += 1
    assert counts.sum() == 4000
    assert chi_square(counts.ravel()) < 45.3  # 20 degrees of freedom, p = 0.001


def test_alexnets_crops_come_from_the_central_square():
    crop = functools.partial(resize_random_crop, size=30, scale=(32, 32), central_square=True, interpolation="bilinear")
    columns = {int(crop[0, 0, 1]) for crop in crops(crop, position_image(32, 48), 300)}
    assert columns == {8, 9, 10}


def test_resnets_scale_is_uniform():
    # The width of a photograph of 1:1 tells its scale: a crop of the whole keeps the first and the last column.
    crop = functools.partial(
        resize_random_crop, size=64, scale=(64, 80), central_square=False, interpolation="bilinear"
    )
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[np.newaxis, :, np.newaxis], 256, axis=0).repeat(3, 2)
    shown = np.array([int(crop[0, -1, 0]) - int(crop[0, 0, 0]) for crop in crops(crop, ramp, 3000)])
    scales = 63 * 255 / np.maximum(shown, 1)  # 255 gray values over the scale's pixels
    counts, _ = np.histogram(scales, bins=[62, 68.5, 72.5, 76.5, 83])
    assert np.all(np.abs(counts / 3000 - np.array([5, 4, 4, 4]) / 17) < 0.05)


def test_random_resized_crops_have_the_area_and_the_aspect_asked_for():
    # A ramp's first and last values tell the crop's width; one ramp for each direction.
    size, side = 8, 250
    image = np.zeros((side, side, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(side)[:, np.newaxis], np.arange(side)
    crop = RandomResizedCrop(size, area=(0.08, 1.0), aspect=(3 / 4, 4 / 3), interpolation="area")
    found = np.array([crop[-1, -1, :2].astype(float) - crop[0, 0, :2] for crop in crops(crop, image, 4000)])
    height, width = (found * size / (size - 1) / side).T
    assert np.all(height * width < 1.03)
    aspect = np.log(width / height)
    assert np.all(np.abs(aspect) < np.log(4 / 3) + 0.06)
    assert abs(aspect.mean()) < 0.02
    # The area is uniform as far as the shape fits into the photograph: up to 3/4 every shape does.
    counts, _ = np.histogram(height * width, bins=np.linspace(0.1, 0.7, 7))
    assert chi_square(counts) < 22  # 5 degrees of freedom, p = 0.0005


def test_a_shape_that_never_fits_falls_back_on_the_largest_central_crop():
    image = position_image(10, 200)
    crop = RandomResizedCrop(10, area=(0.9, 1.0), aspect=(3 / 4, 4 / 3), interpolation="bilinear")
    crop = crop(image, np.random.default_rng(0))
    assert abs(int(crop[5, 0, 1]) - 93) <= 1  # 13 of 200 columns, the central ones
    assert abs(int(crop[5, -1, 1]) - 106) <= 1


def plain_random_resized_crop(image, rng, size, area, aspect):
    """Everything in one loop, the draws in the order that runs rely on."""
    height, width = image.shape[:2]
    for _ in range(10):
        target = height * width * rng.uniform(area[0], area[1])
        ratio = np.exp(rng.uniform(np.log(aspect[0]), np.log(aspect[1])))
        w, h = round(np.sqrt(target * ratio)), round(np.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            y = rng.integers(0, height - h + 1)
            x = rng.integers(0, width - w + 1)
            break
    else:
        w, h = min(width, max(1, round(height * aspect[1]))), min(height, max(1, round(width / aspect[0])))
        y, x = (height - h) // 2, (width - w) // 2
    return resize(image[y : y + h, x : x + w], size, size)


@given(
    height=st.integers(3, 90),
    width=st.integers(3, 90),
    least=st.sampled_from([0.08, 0.9]),
    aspect=st.sampled_from([(3 / 4, 4 / 3), (1.0, 1.0), (3.0, 5.0)]),
    seed=st.integers(0, 99),
)
def test_random_resized_crops_and_their_draws_are_those_of_a_plain_loop(height, width, least, aspect, seed):
    image = position_image(height, width)
    ours, plain = np.random.default_rng(seed), np.random.default_rng(seed)
    crop = RandomResizedCrop(12, (least, 1.0), aspect, "bilinear")(image, ours)
    np.testing.assert_array_equal(crop, plain_random_resized_crop(image, plain, 12, (least, 1.0), aspect))
    assert ours.random() == plain.random()


@pytest.mark.parametrize("interpolation", geometry.INTERPOLATIONS)
@given(height=st.integers(3, 250), width=st.integers(3, 250), channels=st.sampled_from([1, 3]), seed=st.integers(0, 99))
def test_every_photograph_gives_views_of_the_networks_size(interpolation, height, width, channels, seed):
    image = np.zeros((height, width, channels), np.uint8)
    common = {"size": 24, "interpolation": interpolation}
    crops = [
        functools.partial(resize_center_crop, shorter_side=28, **common),
        functools.partial(resize_random_crop, scale=(24, 40), central_square=seed % 2 == 0, **common),
        RandomResizedCrop(area=(0.08, 1.0), aspect=(3 / 4, 4 / 3), **common),
    ]
    for crop in crops:
        assert crop(image, np.random.default_rng(seed)).shape == (24, 24, channels)


def test_a_sliver_is_refused_instead_of_blown_up():
    with pytest.raises(UnreadableImageError, match="2 x 5000 pixels"):
        resize_shorter_side(np.zeros((5000, 2, 3), np.uint8), 256)
    with pytest.raises(UnreadableImageError, match="2 x 5000 pixels"):
        RandomResizedCrop(224, (0.08, 1.0), (3 / 4, 4 / 3), "area").window(5000, 2, np.random.default_rng(0))
