"""Decoding, against Pillow; and everything that a folder of photographs can hold."""

import contextlib
import io
import re
import struct
import subprocess
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from resnet_alexnet.data.images import decode as module
from resnet_alexnet.data.images.decode import UnreadableImageError, decode, is_gray_jpeg, is_plain_jpeg
from resnet_alexnet.workdir.config import load_config
from tests.support.images import encode, oriented, photograph, png, png_of_size


def with_pillow(data, mode="RGB"):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert(mode))


# What is read as it is


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_a_jpeg_has_pillows_pixels_to_the_bit(subsampling, quality):
    data = encode(photograph(), subsampling=subsampling, quality=quality)
    assert is_plain_jpeg(data)
    np.testing.assert_array_equal(decode(data), with_pillow(data))


def test_a_progressive_jpeg_too():
    data = encode(photograph(), progressive=True)
    np.testing.assert_array_equal(decode(data), with_pillow(data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_lossless_formats_give_back_their_pixels(kind):
    image = photograph(channels=3) // 64 * 64 if kind == "GIF" else photograph()
    expected = with_pillow(encode(image, kind)) if kind == "GIF" else image
    np.testing.assert_array_equal(decode(encode(image, kind)), expected)


def test_a_webp_has_pillows_pixels():
    data = encode(photograph(), "WEBP")
    np.testing.assert_array_equal(decode(data), with_pillow(data))


def test_the_format_is_told_from_the_content():
    image = photograph()
    assert not is_plain_jpeg(encode(image, "PNG"))
    np.testing.assert_array_equal(decode(encode(image, "PNG")), image)  # whatever its name says


def test_a_ppm_is_a_view_of_its_bytes():
    image = photograph()
    data = encode(image, "PPM")
    np.testing.assert_array_equal(decode(data), image)
    assert np.shares_memory(decode(data), np.frombuffer(data, np.uint8))
    np.testing.assert_array_equal(decode(encode(image, "PPM"), channels=1)[..., 0], with_pillow(data, "L"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("header", [b"P6\n# Created by GIMP\n60 40\n255\n", b"P6 60\n40 255 ", b"P6\n60 40\n15\n"])
def test_a_ppm_with_any_other_header_has_pillows_pixels(header, channels):
    data = header + (photograph() // 16).tobytes()
    expected = with_pillow(data, "RGB" if channels == 3 else "L").reshape(40, 60, channels)
    np.testing.assert_array_equal(decode(data, channels=channels), expected)
    with pytest.raises(UnreadableImageError):
        decode(data[:-1], channels=channels)


def test_of_a_ppm_of_sixteen_bits_eight_are_taken():
    image = photograph()
    data = b"P6\n60 40\n65535\n" + np.repeat(image, 2).tobytes()  # v * 257, of which v is the upper and the nearest
    np.testing.assert_array_equal(decode(data), image)


def test_what_follows_a_ppm_is_passed_over():
    image = photograph()
    np.testing.assert_array_equal(decode(encode(image, "PPM") * 2), image)


@given(height=st.integers(1, 30), width=st.integers(1, 30), channels=st.sampled_from([1, 3]))
def test_every_size_comes_back_with_the_channels_asked_for(height, width, channels):
    image = photograph(height, width)
    for kind in ("JPEG", "PNG"):
        assert decode(encode(image, kind), channels=channels).shape == (height, width, channels)


# What is converted


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_gray_becomes_rgb_and_rgb_gray(kind):
    gray, color = photograph(channels=1), photograph()
    data = encode(gray, kind)
    np.testing.assert_array_equal(decode(data), np.repeat(with_pillow(data, "L")[..., np.newaxis], 3, axis=-1))
    np.testing.assert_array_equal(decode(data, channels=1)[..., 0], with_pillow(data, "L"))
    # A JPEG's own luminance, where Pillow would go through RGB and back.
    difference = decode(encode(color, kind), channels=1)[..., 0].astype(int) - with_pillow(encode(color, kind), "L")
    assert np.abs(difference).max() <= 6
    assert np.abs(difference).mean() < 0.5


def test_cmyk_becomes_rgb():
    rgb = Image.fromarray(photograph())
    data = encode(rgb.convert("CMYK"), quality=95)
    assert not is_plain_jpeg(data)
    np.testing.assert_array_equal(decode(data), with_pillow(data))
    assert np.abs(decode(data).astype(int) - np.asarray(rgb)).mean() < 6


def test_a_palette_becomes_rgb():
    palette = Image.fromarray(photograph()).quantize(64)
    np.testing.assert_array_equal(decode(encode(palette, "PNG")), np.asarray(palette.convert("RGB")))


def test_transparent_pixels_lie_on_white():
    rgba = Image.fromarray(photograph()).convert("RGBA")
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, 30:] = 255
    rgba.putalpha(Image.fromarray(alpha))
    image = decode(encode(rgba, "PNG"))
    assert (image[:, :30] == 255).all()
    np.testing.assert_array_equal(image[:, 30:], photograph()[:, 30:])


def test_a_transparent_palette_color_is_white():
    palette = Image.fromarray(np.zeros((4, 6, 3), np.uint8)).quantize(4)
    data = encode(palette, "PNG", transparency=bytes([0, 255, 255, 255]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (decode(data) == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_of_sixteen_bits_the_upper_eight_are_taken(channels):
    values = np.arange(0, 65_536, 257, dtype=np.uint16).reshape(16, 16)
    image = decode(encode(Image.fromarray(values), "PNG"), channels=channels)
    np.testing.assert_array_equal(image, np.repeat((values >> 8).astype(np.uint8)[..., np.newaxis], channels, axis=-1))


def test_black_and_white_becomes_0_and_255():
    bits = np.arange(24).reshape(4, 6) % 3 == 0
    np.testing.assert_array_equal(decode(encode(Image.fromarray(bits), "PNG"), channels=1)[..., 0], bits * 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_rotated_photograph_is_turned_upright(orientation, kind):
    upright = photograph()
    # How a camera held that way would store it: the inverse of what EXIF tells a viewer to do.
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    data = encode(
        np.ascontiguousarray(turned), kind, exif=oriented(orientation), **({"quality": 95} if kind == "JPEG" else {})
    )
    assert is_plain_jpeg(data) == (kind == "JPEG" and orientation == 1)
    image = decode(data)
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(image, np.asarray(ImageOps.exif_transpose(picture).convert("RGB")))
    assert image.flags.c_contiguous
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < (0.5 if kind == "PNG" else 8)


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_exif_does_not_know_is_none(orientation):
    image = photograph()
    data = encode(image, exif=oriented(orientation))
    assert is_plain_jpeg(data)
    np.testing.assert_array_equal(decode(data), with_pillow(data))
    assert is_gray_jpeg(encode(image[..., :1], exif=oriented(orientation)))


def test_damaged_exif_is_no_reason_to_refuse_the_pixels():
    data = encode(photograph(), exif=oriented(6))
    where = data.index(b"Exif\0\0") + 6
    damaged = data[:where] + b"\xff" * 8 + data[where + 8 :]
    assert decode(damaged).shape == (40, 60, 3)


def test_of_an_animation_the_first_frame_is_taken():
    first, second = photograph(seed=1), photograph(seed=2)
    frames = [Image.fromarray(image) for image in (first, second)]
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(decode(data), first)


def test_a_flaw_that_pillow_forgives_is_forgiven():
    data = encode(photograph())
    flawed = data[:-2] + b"\0" * 50 + data[-2:]  # libjpeg's strict mode: extraneous bytes before a marker
    assert decode(flawed).shape == (40, 60, 3)


# What is refused


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_refused(kind, share):
    data = encode(photograph(), kind)
    with pytest.raises(UnreadableImageError):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"<html>not found</html>", b"\xff\xd8\xff", b"P6\n", b"P6\n2 2\n65535\n" + b"0" * 23]
)
def test_what_is_no_image_is_refused(data):
    with pytest.raises(UnreadableImageError):
        decode(data)


def test_an_empty_file_is_called_empty():
    with pytest.raises(UnreadableImageError, match="the file is empty"):
        decode(b"")


def test_a_damaged_png_is_refused():
    data = bytearray(encode(photograph(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UnreadableImageError):
        decode(bytes(data))


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(size):
    with pytest.raises(UnreadableImageError, match=r"pixels.* more than max_pixels=89,478,485$"):
        decode(png_of_size(*size))


def test_an_enormous_jpeg_is_refused_by_its_header():
    data = encode(photograph())
    where = data.index(b"\xff\xc0") + 5  # frame header: marker, length, precision, then height and width
    bomb = data[:where] + (60_000).to_bytes(2, "big") * 2 + data[where + 4 :]
    with pytest.raises(UnreadableImageError, match="60000 x 60000 pixels"):
        decode(bomb)


def test_the_limit_is_pillows_unless_another_is_given(monkeypatch):
    assert module.MAX_PIXELS == Image.MAX_IMAGE_PIXELS == load_config("default").dataset.max_pixels
    for kind in ("JPEG", "PNG", "PPM"):
        assert decode(encode(photograph(), kind), max_pixels=40 * 60).shape == (40, 60, 3)
        with pytest.raises(UnreadableImageError, match="60 x 40 pixels, more than max_pixels=2,399"):
            decode(encode(photograph(), kind), max_pixels=40 * 60 - 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # a small stand-in for a photograph of 200 megapixels
    for kind in ("PNG", "GIF", "TIFF", "WEBP"):
        assert decode(encode(photograph(), kind), max_pixels=40 * 60).shape == (40, 60, 3)


@given(
    data=st.binary(max_size=200),
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF"]),
    cut=st.integers(0, 400),
)
def test_damage_gives_pixels_or_an_unreadable_image_and_nothing_else(data, kind, cut):
    whole = encode(photograph(8, 9), kind)
    damaged = whole[:cut] + data + whole[cut + len(data) :]
    with contextlib.suppress(UnreadableImageError):
        assert decode(damaged).dtype == np.uint8


# Formats


def test_only_listed_formats_are_opened_whatever_a_file_is_called(monkeypatch):
    image = Image.fromarray(photograph())
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **options: started.append(words))  # Ghostscript
    monkeypatch.setattr(subprocess, "check_call", lambda *words, **options: started.append(words))
    for kind in ("EPS", "TGA", "ICO", "PCX", "SGI", "ICNS", "DDS", "SPIDER"):
        data = encode(image.convert("L").convert("F") if kind == "SPIDER" else image, kind)
        with pytest.raises(UnreadableImageError):
            decode(data)
    assert started == []


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "MPO"])
def test_other_formats_of_cameras_have_pillows_pixels(kind):
    data = encode(Image.fromarray(photograph()), kind)
    np.testing.assert_array_equal(decode(data), with_pillow(data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is HEIC, which is not read: convert it to JPEG or PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is PostScript"),
        (b"<?xml version='1.0'?>\n<svg/>", "it is SVG, HTML or XML"),
        (b"GIF89a", "its first bytes are damaged, or its kind of pixels is not read"),
        (b"no image", "it is not an image of a known format"),
    ],
)
def test_why_an_image_cannot_be_opened(data, reason):
    with pytest.raises(UnreadableImageError, match=re.escape(reason)):
        decode(data)


# Bits


@pytest.mark.parametrize("kind", ["TIFF", "PPM"])
@pytest.mark.parametrize("channels", [1, 3])
def test_floats_are_refused_rather_than_black(kind, channels):
    data = encode(Image.fromarray(np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)), kind)
    with pytest.raises(UnreadableImageError, match=r"floats, signed or of 32 bits.*convert it to 8 or 16 bits"):
        decode(data, channels=channels)


def test_a_tiff_of_32_bits_is_refused_rather_than_black():
    data = encode(Image.fromarray(np.arange(24, dtype=np.int32).reshape(4, 6)), "TIFF")
    with pytest.raises(UnreadableImageError, match="floats, signed or of 32 bits"):
        decode(data)


def test_a_tiff_of_signed_bytes_is_refused_rather_than_gray():
    values = np.arange(240, dtype=np.uint8).reshape(12, 20)
    assert (
        decode(encode(Image.fromarray(values), "TIFF", tiffinfo={339: 1}), channels=1)[..., 0].tolist()
        == values.tolist()
    )
    with pytest.raises(UnreadableImageError, match="floats, signed or of 32 bits"):
        decode(encode(Image.fromarray(values), "TIFF", tiffinfo={339: 2}))


def test_a_tiff_in_lab_becomes_rgb_and_gray():
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.new("RGB", (4, 4), "white"), transform)
    for channels in (1, 3):
        image = decode(encode(lab, "TIFF"), channels=channels)
        assert image.shape == (4, 4, channels)
        assert image.min() > 250


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "PNG"])
def test_of_gray_with_sixteen_bits_the_upper_eight_are_taken_in_every_format(kind):
    values = np.arange(0, 65_536, 257, dtype=np.uint16).reshape(16, 16)
    image = decode(encode(Image.fromarray(values), kind), channels=1)
    np.testing.assert_array_equal(image[..., 0], values >> 8)


def test_a_tiff_in_which_white_is_zero_is_no_negative():
    values = np.arange(0, 65_536, 257, dtype=np.uint16).reshape(16, 16)
    data = encode(Image.fromarray(values), "TIFF")
    black_is_zero = struct.pack("<HHIH", 262, 3, 1, 1)
    assert data.count(black_is_zero) == 1
    image = decode(data.replace(black_is_zero, struct.pack("<HHIH", 262, 3, 1, 0)), channels=1)
    np.testing.assert_array_equal(image[..., 0], 255 - (values >> 8))


@pytest.mark.parametrize("clear", [0x1234, 0xFFFF])
@pytest.mark.parametrize("color", [0, 2])  # gray, RGB
def test_the_transparent_color_of_sixteen_bits_is_white(color, clear):
    pixels = np.full((4, 6, 3 if color else 1), 0x4000, ">u2")
    pixels[1, 2] = clear
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    transparent = np.full(pixels.shape[2], clear, ">u2").tobytes()
    image = decode(
        png(struct.pack(">IIBBBBB", 6, 4, 16, color, 0, 0, 0), (b"tRNS", transparent), (b"IDAT", zlib.compress(rows)))
    )
    expected = np.full((4, 6, 3), 0x40)
    expected[1, 2] = 255
    np.testing.assert_array_equal(image, expected)
