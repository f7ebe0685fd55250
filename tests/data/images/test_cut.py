"""Cut decoding, against decoding whole photographs: their pixels, their draws, and what it makes of damage."""

import functools
import random

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resnet_alexnet.data.images import cut
from resnet_alexnet.data.images.cut import can_be_cut, decode_crop, decode_rows
from resnet_alexnet.data.images.decode import UnreadableImageError, decode, read_header
from resnet_alexnet.data.images.geometry import RandomResizedCrop, resize_center_crop, resize_random_crop, whole_image
from tests.support.images import encode, oriented, photograph

CROP = RandomResizedCrop(24, (0.08, 1.0), (3 / 4, 4 / 3), "bilinear")
# What a folder can hold: how an image is encoded, and whether it can be cut.
KINDS = {
    "4:4:4": (functools.partial(encode, subsampling=0), True),
    "4:2:2": (functools.partial(encode, subsampling=1), True),
    "4:2:0": (functools.partial(encode, subsampling=2, quality=95), True),
    "optimized": (functools.partial(encode, optimize=True), True),
    "with EXIF": (functools.partial(encode, exif=oriented(1)), True),
    "gray": (lambda image: encode(image[..., :1]), True),
    "progressive": (functools.partial(encode, progressive=True), False),
    "restarts": (functools.partial(encode, restart_marker_rows=1), False),
    "on its side": (functools.partial(encode, exif=oriented(6)), False),
    "mirrored": (functools.partial(encode, exif=oriented(2)), False),
    "cmyk": (lambda image: encode(Image.fromarray(image).convert("CMYK")), False),
    "png": (functools.partial(encode, kind="PNG"), False),
    "ppm": (functools.partial(encode, kind="PPM"), False),
}


def cut_rows(data, rows, channels=3):
    header = read_header(data)
    assert header is not None
    return decode_rows(data, header, rows, channels=channels)


# Pixels


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411", "Gray"])
@pytest.mark.parametrize(("height", "width"), [(75, 37), (64, 16), (33, 5), (9, 3)])
def test_wherever_it_is_cut_the_rows_above_are_those_of_the_whole(subsampling, height, width):
    gray = subsampling == "Gray"
    image = photograph(height, width, channels=1 if gray else 3)
    data = simplejpeg.encode_jpeg(image, 90, "GRAY" if gray else "RGB", subsampling)
    for channels in (1, 3) if gray else (3,):
        whole = decode(data, channels=channels)
        for rows in range(1, height + 1):
            pixels = cut_rows(data, rows, channels)
            assert (pixels is None) == (rows >= height - 4)
            if pixels is not None:
                assert rows <= len(pixels) <= rows + 4
                np.testing.assert_array_equal(pixels[:rows], whole[:rows])


@given(
    kind=st.sampled_from(sorted(KINDS)),
    height=st.integers(3, 90),
    width=st.integers(3, 90),
    channels=st.sampled_from([1, 3]),
    area=st.sampled_from([(0.08, 1.0), (0.02, 0.1), (1.0, 1.0)]),
    aspect=st.sampled_from([(3 / 4, 4 / 3), (1.0, 1.0), (3.0, 5.0)]),
    seed=st.integers(0, 999),
)
def test_a_view_and_its_draws_are_those_of_the_whole_photograph(kind, height, width, channels, area, aspect, seed):
    crop = RandomResizedCrop(24, area, aspect, "area")
    data = KINDS[kind][0](photograph(height, width, seed=seed % 5))
    ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
    expected = crop(decode(data, channels=channels), theirs)
    np.testing.assert_array_equal(decode_crop(data, crop, ours, channels=channels), expected)
    assert ours.random() == theirs.random()


@pytest.mark.parametrize("kind", KINDS)
def test_views_that_resize_first_are_left_alone(kind):
    common = {"size": 24, "interpolation": "bicubic"}
    data = KINDS[kind][0](photograph())
    for crop in (
        functools.partial(resize_random_crop, scale=(24, 40), central_square=False, **common),
        functools.partial(resize_center_crop, shorter_side=28, **common),
        whole_image,
    ):
        expected = crop(decode(data), np.random.default_rng(3))
        np.testing.assert_array_equal(decode_crop(data, crop, np.random.default_rng(3), channels=3), expected)


@pytest.mark.parametrize(("encoded", "cuttable"), KINDS.values(), ids=KINDS)
def test_what_is_cut(encoded, cuttable, monkeypatch):
    data, wholes = encoded(photograph(90, 60)), []
    monkeypatch.setattr(cut, "decode", lambda data, **limits: wholes.append(data) or decode(data, **limits))
    for seed in range(50):
        decode_crop(data, CROP, np.random.default_rng(seed), channels=3)
    assert (len(wholes) < 25) if cuttable else len(wholes) == 50
    header = read_header(data)
    assert (header is not None and can_be_cut(header, channels=3)) == cuttable


def test_color_as_gray_is_not_cut():
    header = read_header(encode(photograph()))
    assert header is not None
    assert not can_be_cut(header, channels=1)


# Damage


def damaged(data, rng):
    """The data with a flaw after its headers."""
    damage, start = bytearray(data), data.index(b"\xff\xda") + 14
    at = rng.randrange(start, len(data) - 2)
    match rng.choice(["bit", "bits", "byte", "zeros", "marker", "less", "more", "end"]):
        case "bit":
            damage[at] ^= 1 << rng.randrange(8)
        case "bits":
            for where in rng.choices(range(start, len(data) - 2), k=3):
                damage[where] ^= 1 << rng.randrange(8)
        case "byte":
            damage[at] = rng.randrange(256)
        case "zeros":
            damage[at : at + 30] = bytes(len(damage[at : at + 30]))
        case "marker":
            damage[at : at + 2] = bytes([0xFF, rng.randrange(256)])
        case "less":
            del damage[at : at + rng.randrange(1, 60)]
        case "more":
            damage[at:at] = rng.randbytes(rng.randrange(1, 30))
        case "end":
            damage[at : at + 2] = b"\xff\xd9"
    return bytes(damage)


@pytest.mark.parametrize("kind", ["4:4:4", "4:2:0", "gray"])
def test_damaged_rows_are_those_of_the_whole_or_left_to_it(kind):
    rng = random.Random(kind)
    data = KINDS[kind][0](photograph(90, 60))
    shown = 0
    for _ in range(600):
        damage, rows = damaged(data, rng), rng.randrange(1, 86)
        pixels = cut_rows(damage, rows)
        if pixels is not None:
            np.testing.assert_array_equal(pixels[:rows], decode(damage)[:rows])  # which does not raise
            shown += 1
    assert 100 < shown < 600


def test_damage_that_libjpeg_sees_is_left_to_the_whole_unless_it_is_below_the_cut():
    data = encode(photograph(90, 60))
    for at in range(data.index(b"\xff\xda") + 20, len(data) - 2, 10):
        damage = data[:at] + b"\xff\xd9" + data[at + 2 :]  # the end comes too early
        for rows in (10, 40, 80):
            pixels = cut_rows(damage, rows)
            if pixels is not None:
                np.testing.assert_array_equal(pixels[:rows], decode(data)[:rows])


@pytest.mark.parametrize("kind", ["4:4:4", "4:2:0", "gray"])
def test_a_file_that_is_cut_off_anywhere_is_left_to_the_whole(kind):
    data = KINDS[kind][0](photograph(90, 60))
    for length in range(data.index(b"\xff\xda") + 14, len(data) - 1):
        assert cut_rows(data[:length], 20) is None
    with pytest.raises(UnreadableImageError):
        decode_crop(data[:-2], CROP, np.random.default_rng(0), channels=3)


@pytest.mark.parametrize("marker", [0x02, 0xC0, 0xD8, 0xD3, 0xE1, 0xFE])
def test_a_wrong_marker_below_the_cut_is_left_to_the_whole(marker):
    data = encode(photograph(90, 60))
    damage = data[:-20] + bytes([0xFF, marker]) + data[-18:]
    assert cut_rows(damage, 10) is None
    if marker < 0xD0:
        with pytest.raises(UnreadableImageError):
            decode_crop(damage, CROP, np.random.default_rng(0), channels=3)


def test_a_complaint_that_comes_before_the_rows_is_none_of_the_rest(monkeypatch):
    def complains(*arguments, **options):
        raise ValueError("Corrupt JPEG data: 5 extraneous bytes before marker 0xd9")

    data = encode(photograph(90, 60))
    monkeypatch.setattr(simplejpeg, "decode_jpeg", complains)
    assert cut_rows(data, 40) is None


def test_trailing_bytes_are_no_damage():
    data = encode(photograph(90, 60))
    pixels = cut_rows(data + b"\0" * 30, 40)
    assert pixels is not None
    np.testing.assert_array_equal(pixels[:40], decode(data)[:40])
