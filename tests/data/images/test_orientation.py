"""The orientation in damaged metadata: what Pillow says where it can read it, and the pixels in any case."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from resnet_alexnet.data.images.decode import decode
from resnet_alexnet.data.images.orientation import find_orientation, strip_png
from tests.support.images import encode, oriented, photograph

IMAGE = photograph()
TURNED = np.rot90(IMAGE, -1)  # what orientation 6 asks for
XMP = b'<x:xmpmeta><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></x:xmpmeta>'
ORIENTATION = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
TEXT_RESOLUTION = struct.pack("<HHI4s", 0x011A, 2, 4, b"72\0\0")  # a number written as text


def exif(*entries):
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory


def jpeg_with(marker, content, image=IMAGE, mode="RGB"):
    data = encode(Image.fromarray(image).convert(mode), quality=95)
    return data[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content + data[2:]


def png_with(kind, content, *, checksum=None):
    data = encode(IMAGE, "PNG")
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return data[:33] + struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum) + data[33:]


def lossless(data, expected):
    np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize("damaged", [b"garbage!", b"II*\0", exif(TEXT_RESOLUTION)[6:], exif()[6:], b""])
def test_damaged_exif_costs_no_pixel(damaged):
    lossless(png_with(b"eXIf", damaged), IMAGE)
    lossless(encode(IMAGE, "WEBP", exif=b"Exif\0\0" + damaged, lossless=True), IMAGE)
    for mode in ("RGB", "L", "CMYK"):
        found = decode(jpeg_with(0xE1, b"Exif\0\0" + damaged, mode=mode))
        np.testing.assert_array_equal(found, decode(encode(Image.fromarray(IMAGE).convert(mode), quality=95)))


def test_the_orientation_is_found_among_damaged_entries():
    damaged = exif(TEXT_RESOLUTION, ORIENTATION)
    lossless(png_with(b"eXIf", damaged[6:]), TURNED)
    lossless(png_with(b"eXIf", damaged), TURNED)  # with a header that only JPEG files should have
    lossless(encode(IMAGE, "WEBP", exif=damaged, lossless=True), TURNED)
    for mode in ("RGB", "CMYK"):
        assert decode(jpeg_with(0xE1, damaged, mode=mode)).shape == TURNED.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(orientation):
    data = encode(Image.fromarray(IMAGE), "TIFF", tiffinfo={0x0112: orientation})
    with Image.open(io.BytesIO(encode(IMAGE, "PNG", exif=oriented(orientation)))) as png:
        lossless(data, decode(encode(Image.fromarray(np.asarray(png)), "PNG", exif=oriented(orientation))))


def test_an_orientation_in_xmp_alone_counts():
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    lossless(encode(IMAGE, "PNG", pnginfo=text), TURNED)
    lossless(encode(IMAGE, "WEBP", xmp=XMP, lossless=True), TURNED)
    for mode in ("RGB", "CMYK"):
        assert decode(encode(Image.fromarray(IMAGE).convert(mode), xmp=XMP)).shape == TURNED.shape
    both = jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    upright = exif(struct.pack("<HHIHH", 0x0112, 3, 1, 1, 0))
    assert decode(both[:2] + b"\xff\xe1" + struct.pack(">H", len(upright) + 2) + upright + both[2:]).shape == (
        40,
        60,
        3,
    )


@pytest.mark.parametrize("name", ["exif", "APP1", "xmp"])
@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_metadata_that_imagemagick_writes_into_a_png_counts(kind, name):
    content = XMP if name == "xmp" else exif(ORIENTATION)
    profile = f"\n{name}\n{len(content):8}\n{content.hex()}\n"
    text = PngImagePlugin.PngInfo()
    if kind == "iTXt":
        text.add_itxt(f"Raw profile type {name}", profile)
    else:
        text.add_text(f"Raw profile type {name}", profile, zip=kind == "zTXt")
    lossless(encode(IMAGE, "PNG", pnginfo=text), TURNED)


@pytest.mark.parametrize(
    ("prefix", "namespace", "turned"),
    [("t", "http://ns.adobe.com/tiff/1.0/", True), ("t", "http://example.org/", False), ("tiff", "", True)],
)
def test_the_prefix_of_the_orientation_in_xmp_is_that_of_its_namespace(prefix, namespace, turned):
    xmp = f'<x:xmpmeta><rdf:Description xmlns:{prefix}="{namespace}" {prefix}:Orientation="6"/></x:xmpmeta>'.encode()
    lossless(encode(IMAGE, "WEBP", xmp=xmp, lossless=True), TURNED if turned else IMAGE)


@pytest.mark.parametrize(("kind", "value"), [("B", 1), ("b", 6), ("H", 3), ("h", 8), ("I", 4), ("i", 9)])
@pytest.mark.parametrize("order", "<>")
def test_the_orientation_may_be_a_number_of_any_type(order, kind, value):
    entry = struct.pack(f"{order}HHI", 0x0112, value, 1) + struct.pack(order + kind, 6).ljust(4, b"\0")
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1)
    assert find_orientation(header + entry + bytes(4), b"") == 6


@pytest.mark.parametrize("zipped", [True, False])
def test_much_text_in_a_png_is_no_reason_to_refuse_it(zipped):
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 3_000_000, zip=zipped)
    text.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=zipped)
    lossless(encode(IMAGE, "PNG", pnginfo=text, icc_profile=bytes(3_000_000)), IMAGE)


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"iCCP", b"gAMA", b"pHYs", b"tIME", b"acTL"])
def test_a_wrong_checksum_of_what_is_not_pixels_is_passed_over(kind):
    lossless(png_with(kind, b"k\0abc", checksum=1), IMAGE)


def test_only_what_is_not_needed_for_the_pixels_is_left_out_of_a_png():
    palette = Image.fromarray(IMAGE).quantize(8)
    data = encode(palette, "PNG", transparency=bytes(8), dpi=(72, 72))
    stripped, orientation = strip_png(data)
    assert orientation == 1
    assert b"pHYs" in data
    assert b"pHYs" not in stripped
    assert all(kind in stripped for kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
    cut = data[: len(data) // 2]
    assert strip_png(cut)[0].endswith(cut[-20:])


@pytest.mark.parametrize("orientation", [1, 6])
def test_damaged_exif_costs_no_pixel_of_an_avif(orientation):
    tags = oriented(orientation)
    tags[0x011A] = 72.0  # Pillow writes the orientation into another place, and EXIF only for other tags
    data = encode(IMAGE, "AVIF", exif=tags, quality=100)
    expected = decode(data)
    assert expected.shape == (TURNED if orientation == 6 else IMAGE).shape
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(expected, np.asarray(ImageOps.exif_transpose(image)))
    start = max(data.find(b"Exif\0\0II*\0"), data.find(b"Exif\0\0MM\0*")) + 6
    assert start > 6
    np.testing.assert_array_equal(decode(data[:start] + b"garbage!" + data[start + 8 :]), expected)


@given(
    orientation=st.integers(0, 9),
    order=st.sampled_from("<>"),
    before=st.lists(st.integers(0, 2**16 - 1).filter(lambda tag: tag != 0x0112), max_size=3),
)
def test_the_orientation_is_the_one_that_pillow_finds(orientation, order, before):
    entries = [struct.pack(f"{order}HHIHH", tag, 3, 1, 5, 0) for tag in before]
    entries.append(struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0))
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    content = b"Exif\0\0" + header + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    tags = Image.Exif()
    tags.load(content)
    assert find_orientation(content, b"") == tags[0x0112] == orientation


@given(st.binary(max_size=80), st.booleans())
def test_no_bytes_make_the_search_for_an_orientation_fail(data, headed):
    found = find_orientation(b"II*\0\x08\0\0\0" + data if headed else data, data)
    assert isinstance(found, int)
    strip_png(b"\x89PNG\r\n\x1a\n" + data)
