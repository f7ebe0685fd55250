"""The views of a photograph for testing, against Pillow."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resnet_alexnet.data.images.decode import UnreadableImageError
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate.crops import ViewSpec, long_sides, whole, with_channels
from tests.support.images import photograph

H15_SCALES = (224, 256, 384, 480, 640)


def view_spec(views, *, size=24, scale=32, corners="square", channels=3):
    return ViewSpec(views, size, scale, corners, "bilinear_antialiased", channels)


def resized(image, width, height):
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(("height", "width"), [(48, 66), (90, 50), (40, 40)])
def test_the_center_is_pillows(height, width):
    image = photograph(height, width)
    shorter = min(height, width)
    large = Image.fromarray(resized(image, width * 32 // shorter, height * 32 // shorter))
    left, top = round((large.width - 24) / 2), round((large.height - 24) / 2)
    (view,) = view_spec("center")(image)
    np.testing.assert_array_equal(view, np.asarray(large.crop((left, top, left + 24, top + 24))))


@pytest.mark.parametrize(("corners", "box"), [("square", (8, 0, 40, 32)), ("photograph", (0, 0, 48, 32))])
def test_corners_are_those_of_the_central_square_or_of_the_photograph(corners, box):
    image = photograph(60, 90)  # resized to 32 x 48
    large = Image.fromarray(resized(image, 48, 32))
    left, top, right, bottom = box
    corners_of = [(x, y) for y in (top, bottom - 24) for x in (left, right - 24)]
    expected = [large.crop((x, y, x + 24, y + 24)) for x, y in [*corners_of, (12, 4)]]
    views = view_spec("ten_crop", corners=corners)(image)
    assert views.shape == (5, 24, 24, 3)
    np.testing.assert_array_equal(views, np.stack([np.asarray(crop) for crop in expected]))


def test_a_scale_has_few_shapes_whose_longer_sides_are_multiples_of_32():
    for scale in range(1, 2000):
        sides = long_sides(scale)
        assert sides[0] == scale
        assert all(side % 32 == 0 for side in sides[1:])
        assert 2 * len(sides) - 1 <= 11
        if scale >= 224:
            most = 1.12 if scale in H15_SCALES else 1.13
            assert max(math.sqrt(b / a) for a, b in itertools.pairwise(sides)) < most


@given(height=st.integers(20, 400), width=st.integers(20, 400), scale=st.sampled_from((64, 96, 224)))
def test_a_whole_photograph_takes_the_nearest_shape_of_its_scale(height, width, scale):
    image = np.zeros((height, width, 3), np.uint8)
    shape = whole(image, scale, "bilinear").shape[:2]
    aspect = max(height, width) / min(height, width)
    assert min(shape) == scale
    assert max(shape) in long_sides(scale)
    assert shape[0] == shape[1] or (shape[0] > shape[1]) == (height > width)
    distances = [abs(math.log(side / scale) - math.log(aspect)) for side in long_sides(scale)]
    if aspect < long_sides(scale)[-1] / scale:
        assert math.isclose(abs(math.log(max(shape) / scale) - math.log(aspect)), min(distances), abs_tol=1e-9)
    else:
        assert max(shape) == long_sides(scale)[-1]


def test_a_whole_photograph_is_pillows_and_its_long_ends_are_cut_off():
    image = photograph(60, 82)
    np.testing.assert_array_equal(view_spec("fully_convolutional", scale=64)(image)[0], resized(image, 96, 64))
    tall = photograph(150, 50)
    np.testing.assert_array_equal(
        view_spec("fully_convolutional", scale=64)(tall)[0], resized(np.ascontiguousarray(tall[25:125]), 64, 128)
    )


def test_gray_and_color_become_each_other_as_pillow_has_them():
    color, gray = photograph(10, 12), photograph(10, 12, 1)
    np.testing.assert_array_equal(with_channels(color, 1)[..., 0], np.asarray(Image.fromarray(color).convert("L")))
    np.testing.assert_array_equal(with_channels(gray, 3), np.asarray(Image.fromarray(gray[..., 0]).convert("RGB")))
    assert with_channels(gray, 1) is gray
    assert view_spec("center", channels=1)(photograph(40, 50)).shape == (1, 24, 24, 1)


def test_what_cannot_be_a_view_is_refused():
    image = photograph(24, 25)
    with pytest.raises(InputError, match="25 x 24 pixels, but the network takes images of 24 x 24 as they are: give a"):
        view_spec("center", scale=None)(image)
    np.testing.assert_array_equal(view_spec("center", scale=None)(image[:, 1:])[0], image[:, 1:])
    with pytest.raises(InputError, match="the image has 3 channels, the network takes 4"):
        view_spec("center", channels=4)(image)
    for views in ("center", "ten_crop", "fully_convolutional"):
        with pytest.raises(UnreadableImageError, match="one side is 100 times the other"):
            view_spec(views)(np.zeros((200, 2, 3), np.uint8))


def test_equal_geometries_are_one_key():
    assert len({view_spec("center"), view_spec("center"), view_spec("center", scale=40)}) == 2
