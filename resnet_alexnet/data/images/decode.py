"""Decodes photographs: plain JPEGs with libjpeg-turbo, unusual JPEGs and all other formats with Pillow."""

import io
import re
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image

from resnet_alexnet.data.images.orientation import (
    EXIF,
    UPRIGHT,
    XMP,
    Pixels,
    find_orientation,
    strip_avif,
    strip_png,
    turn_upright,
)
from resnet_alexnet.errors import InputError

MAX_PIXELS = 89_478_485  # a larger image is treated as a decompression bomb; Pillow warns from this size on
# The formats that are opened, by Pillow's names. Others are refused, whatever a file is called: some start programs.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
_JPEG = b"\xff\xd8\xff"
_PLAIN_PPM = re.compile(rb"P6\n([1-9]\d{0,8}) ([1-9]\d{0,8})\n255\n")  # header of images in raw sets; width, height
# Markers of JPEG segments: EXIF and XMP, frame headers, restart interval, start of the compressed data.
_APP1, _FRAMES, _RESTARTS, _SCAN = 0xE1, {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}, 0xDD, 0xDA
_SEQUENTIAL = (0xC0, 0xC1)  # frame headers: Huffman-coded row by row, not progressive, lossless or arithmetic
# How files begin, for messages: of FORMATS, and of others.
_SURELY = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|....ftypavi[fs]|....jP  |\xff\x4f\xff\x51", re.DOTALL
)
_PERHAPS = re.compile(rb"BM|II[*+]|MM\0[*+]|P[1-7fF]\s")  # too short to tell; raw photographs of cameras are TIFF too
_OTHERS = {
    "HEIC": re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|....JXL ", re.DOTALL),
    "PostScript": re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"),
    "PDF": re.compile(rb"%PDF"),
    "Photoshop": re.compile(rb"8BPS"),
    "SVG, HTML or XML": re.compile(rb"\s*<[!?a-zA-Z]"),
}
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value of the second
_SAMPLE_FORMAT, _NOT_UNSIGNED = 339, {2, 3, 5, 6}  # a TIFF tag, and its values for signed, float and complex numbers
_MODES = {1: "L", 3: "RGB"}  # Pillow's names, by number of channels
COLORSPACES = {1: "GRAY", 3: "RGB"}  # simplejpeg's names, by number of channels


class UnreadableImageError(ValueError):
    """An image that cannot be decoded. The message is a short reason, without the file's name."""


class Header(NamedTuple):
    """The header fields of an RGB or gray JPEG.

    Attributes:
        height: rows of pixels, as stored.
        width: columns of pixels, as stored.
        components: 3 for color, 1 for gray.
        orientation: EXIF orientation; 1 is upright.
        sequential: whether the rows are coded in order, in one stream without restart markers.
        frame: offset of the frame header in the file, in bytes.
    """

    height: int
    width: int
    components: int
    orientation: int
    sequential: bool
    frame: int

    @property
    def upright(self) -> bool:
        """Whether the pixels are stored upright. Orientations that EXIF does not define count as upright."""
        return self.orientation not in UPRIGHT


def decode(data: bytes, *, channels: int = 3, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decodes an image of one of FORMATS, detected from its first bytes.

    The image is turned upright by its orientation in EXIF or, without one, in XMP. Gray, palette and CMYK become RGB
    (or RGB becomes gray). Of 9 to 16 bits the upper 8 are kept, transparent pixels are put on white, and of an
    animation the first frame is used. For binary PPM, the format of raw sets, the result is a read-only array that
    shares the memory of `data`.

    Args:
        data: the file's bytes.
        channels: 3 for RGB, 1 for gray.
        max_pixels: height times width of the largest image to decode. A value above MAX_PIXELS also raises Pillow's
            own limit, which is one for the whole process.

    Raises:
        UnreadableImageError: the data is empty, damaged, truncated, of another format, an image of more than
            `max_pixels` pixels, or of floats or more than 16 bits per channel, whose range is not known.
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    if data.startswith(_JPEG):
        pixels = _decode_plain_jpeg(data, channels, max_pixels)
    else:
        pixels = _view_plain_ppm(data, channels, max_pixels)
    return _decode_with_pillow(data, channels, max_pixels) if pixels is None else pixels


def check_max_pixels(max_pixels: int) -> None:
    """Raises InputError unless a limit of pixels is one."""
    if max_pixels < 1:
        raise InputError(f"dataset.max_pixels is {max_pixels} (allowed: 1 or more)")


def ignore_pillows_warnings() -> None:
    """Hides Pillow's warnings about unusual files in a worker. Real problems are raised, with the file's name."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def is_plain_jpeg(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether the headers in `data` are those of an upright RGB or gray JPEG."""
    header = read_header(data, max_pixels=max_pixels)
    return header is not None and header.upright


def is_gray_jpeg(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether a plain JPEG has one component."""
    header = read_header(data, max_pixels=max_pixels)
    return header is not None and header.upright and header.components == 1


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header | None:
    """Parses the headers of an RGB or gray JPEG, up to the compressed data. None for other or incomplete files.

    Raises:
        UnreadableImageError: the image has more than `max_pixels` pixels.

    Source: ITU-T T.81, annex B. A segment is FF, marker, and length in two bytes, which includes these two. A frame
        header continues with precision, height, width and number of components.
    """
    if not data.startswith(_JPEG):
        return None
    header, exif, xmp, restarts, position = None, b"", b"", False, 2
    while data[position : position + 1] == b"\xff" and position + 10 <= len(data):
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _SCAN:
            if header is None or header.components not in _MODES:
                return None
            orientation = find_orientation(exif, xmp)
            return header._replace(orientation=orientation, sequential=header.sequential and not restarts)
        end = position + 2 + length
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[position + at : position + at + 2], "big") for at in (5, 7))
            _check_size(width, height, max_pixels)
            header = Header(height, width, data[position + 9], 1, marker in _SEQUENTIAL, position)
        elif marker == _RESTARTS:
            restarts = True
        elif marker == _APP1 and data.startswith(EXIF, position + 4):
            exif = exif or data[position + 4 : end]
        elif marker == _APP1 and data.startswith(XMP, position + 4):
            xmp = xmp or data[position + 4 : end]
        position = end
    return None


def _decode_plain_jpeg(data: bytes, channels: int, max_pixels: int) -> Pixels | None:
    """Decodes an RGB or gray JPEG without flaws, with libjpeg's default settings. None for any other file."""
    import simplejpeg  # here: what takes steps on made-up images does not need it

    header = read_header(data, max_pixels=max_pixels)
    if header is None:
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, COLORSPACES[channels], strict=True)
    except ValueError:  # a flaw that Pillow forgives, or damage that it explains
        return None
    return turn_upright(pixels, header.orientation)


def _view_plain_ppm(data: bytes, channels: int, max_pixels: int) -> Pixels | None:
    """Returns the pixels of a complete binary PPM with 8 bits per channel and no comments; None for anything else."""
    header = _PLAIN_PPM.match(data)
    if header is None or channels != 3:
        return None
    width, height = map(int, header.groups())
    _check_size(width, height, max_pixels)
    if len(data) - header.end() != height * width * 3:
        return None
    return np.frombuffer(data, np.uint8, offset=header.end()).reshape(height, width, 3)


def _decode_with_pillow(data: bytes, channels: int, max_pixels: int) -> Pixels:
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        stripped, orientation = strip_png(strip_avif(data))
        with Image.open(io.BytesIO(stripped), formats=FORMATS) as image:
            _check_size(*image.size, max_pixels)
            pixels = np.atleast_3d(np.asarray(_opaque(_eight_bits(image)).convert(_MODES[channels])))
            if image.format not in ("PNG", "TIFF"):  # Pillow has turned a TIFF
                xmp = b"" if image.format == "AVIF" else image.info.get("xmp", b"")
                orientation = find_orientation(image.info.get("exif", b""), xmp)
        return turn_upright(pixels, orientation)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(f"it has too many pixels, more than max_pixels={max_pixels:,}") from None
    except UnreadableImageError:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImageError(_unidentified(data)) from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise UnreadableImageError(str(error) or type(error).__name__) from None


def is_surely_image(beginning: bytes) -> bool:
    """Whether the first 32 bytes of a file are those of an image to decode, of a format with an unmistakable mark."""
    return _SURELY.match(beginning) is not None


def format_and_mode(data: bytes) -> tuple[str, str]:
    """Returns the format of an image that can be decoded, and its mode, by Pillow's names."""
    with Image.open(io.BytesIO(strip_png(strip_avif(data))[0]), formats=FORMATS) as image:
        return image.format or "unknown", image.mode


def _unidentified(data: bytes) -> str:
    """Says why an image cannot be opened."""
    for kind, beginning in _OTHERS.items():
        if beginning.match(data):
            return f"it is {kind}, which is not read: convert it to JPEG or PNG"
    if _SURELY.match(data) or _PERHAPS.match(data):
        return "its first bytes are damaged, or its kind of pixels is not read: convert it to JPEG or PNG"
    return "it is not an image of a known format"


def _eight_bits(image: Image.Image) -> Image.Image:
    """Converts more than 8 bits per pixel to the upper 8. Pillow's own conversion would clip at 255.

    Raises:
        UnreadableImageError: the pixels are floats, signed or of 32 bits: what is white differs from file to file.
    """
    tags = getattr(image, "tag_v2", {})
    is_signed = not _NOT_UNSIGNED.isdisjoint(tags.get(_SAMPLE_FORMAT, ()))
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF") or is_signed:
        raise UnreadableImageError(
            "its pixels are floats, signed or of 32 bits, so that black and white are not known: convert it to 8 or 16 "
            "bits per channel"
        )
    if not image.mode.startswith("I"):
        return image.convert("RGB") if image.mode == "LAB" else image  # Pillow converts LAB to nothing else
    (bits,) = tags.get(_BITS, (16,))[:1]
    values = np.asarray(image).astype(np.int64).clip(0, 2**bits - 1)
    upper = (values >> (bits - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        upper = 255 - upper
    if "transparency" in image.info:
        upper[values == image.info["transparency"]] = 255
    return Image.fromarray(upper)


def _opaque(image: Image.Image) -> Image.Image:
    """Puts an image with transparent parts on a white background."""
    if not image.has_transparency_data:
        return image
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits, of which Pillow keeps the upper 8
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnreadableImageError(f"it has {width} x {height} pixels, more than max_pixels={max_pixels:,}")
