"""Decodes photographs: plain JPEGs with libjpeg-turbo, unusual JPEGs and all other formats with Pillow."""

import io
import re
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, ImageOps

Pixels = UInt8[np.ndarray, "height width channels"]

MAX_PIXELS = 89_478_485  # a larger image is treated as a decompression bomb; Pillow warns from this size on
_JPEG = b"\xff\xd8\xff"
_PLAIN_PPM = re.compile(rb"P6\n([1-9]\d{0,8}) ([1-9]\d{0,8})\n255\n")  # header of images in raw sets; width, height
# Markers of JPEG segments: EXIF, frame headers, restart interval, start of the compressed data.
_APP1, _FRAMES, _RESTARTS, _SCAN = 0xE1, {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}, 0xDD, 0xDA
_SEQUENTIAL = (0xC0, 0xC1)  # frame headers: Huffman-coded row by row, not progressive, lossless or arithmetic
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright
# Turns the pixels of each other orientation upright.
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels.transpose(1, 0, 2)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels.transpose(1, 0, 2)[::-1],
}
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
        return self.orientation not in _UPRIGHT


def decode(data: bytes, *, channels: int = 3) -> Pixels:
    """Decodes an image of any common format, detected from its first bytes.

    The image is turned upright by its EXIF orientation. Gray, palette and CMYK become RGB (or RGB becomes gray). Of 16
    bits the upper 8 are kept, transparent pixels are put on white, and of an animation the first frame is used. For
    binary PPM, the format of raw sets, the result is a read-only array that shares the memory of `data`.

    Args:
        data: the file's bytes.
        channels: 3 for RGB, 1 for gray.

    Raises:
        UnreadableImageError: the data is empty, damaged, truncated, of an unknown format, or an image of more than
            MAX_PIXELS pixels.
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    pixels = _decode_plain_jpeg(data, channels) if data.startswith(_JPEG) else _view_plain_ppm(data, channels)
    return _decode_with_pillow(data, channels) if pixels is None else pixels


def ignore_pillows_warnings() -> None:
    """Hides Pillow's warnings about unusual files in a worker. Real problems are raised, with the file's name."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def is_plain_jpeg(data: bytes) -> bool:
    """Whether the headers in `data` are those of an upright RGB or gray JPEG."""
    header = read_header(data)
    return header is not None and header.upright


def is_gray_jpeg(data: bytes) -> bool:
    """Whether a plain JPEG has one component."""
    header = read_header(data)
    return header is not None and header.upright and header.components == 1


def read_header(data: bytes) -> Header | None:
    """Parses the headers of an RGB or gray JPEG, up to the compressed data. None for other or incomplete files.

    Raises:
        UnreadableImageError: the image has more than MAX_PIXELS pixels.

    Source: ITU-T T.81, annex B. A segment is FF, marker, and length in two bytes, which includes these two. A frame
        header continues with precision, height, width and number of components.
    """
    if not data.startswith(_JPEG):
        return None
    header, orientation, restarts, position = None, 1, False, 2
    while data[position : position + 1] == b"\xff" and position + 10 <= len(data):
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _SCAN:
            if header is None or header.components not in _MODES:
                return None
            return header._replace(orientation=orientation, sequential=header.sequential and not restarts)
        end = position + 2 + length
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[position + at : position + at + 2], "big") for at in (5, 7))
            _check_size(width, height)
            header = Header(height, width, data[position + 9], 1, marker in _SEQUENTIAL, position)
        elif marker == _RESTARTS:
            restarts = True
        elif marker == _APP1 and data.startswith(_EXIF, position + 4):
            orientation = _orientation(data[position + 4 : end])
        position = end
    return None


def _orientation(exif: bytes) -> int:
    """Returns the orientation in an EXIF segment, or 1 (upright) if it is missing or unreadable."""
    try:
        tags = Image.Exif()
        tags.load(exif)
        return tags.get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF raises errors of many types; the pixels are still usable
        return 1


def _decode_plain_jpeg(data: bytes, channels: int) -> Pixels | None:
    """Decodes an RGB or gray JPEG without flaws, with libjpeg's default settings. None for any other file."""
    header = read_header(data)
    if header is None:
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, COLORSPACES[channels], strict=True)
    except ValueError:  # a flaw that Pillow forgives, or damage that it explains
        return None
    return pixels if header.upright else np.ascontiguousarray(_UPRIGHT[header.orientation](pixels))


def _view_plain_ppm(data: bytes, channels: int) -> Pixels | None:
    """Returns the pixels of a complete binary PPM with 8 bits per channel and no comments; None for anything else."""
    header = _PLAIN_PPM.match(data)
    if header is None or channels != 3:
        return None
    width, height = map(int, header.groups())
    _check_size(width, height)
    if len(data) - header.end() != height * width * 3:
        return None
    return np.frombuffer(data, np.uint8, offset=header.end()).reshape(height, width, 3)


def _decode_with_pillow(data: bytes, channels: int) -> Pixels:
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_size(*image.size)
            upright = ImageOps.exif_transpose(_eight_bits(image))
            return np.atleast_3d(np.asarray(_opaque(upright).convert(_MODES[channels])))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(f"it has too many pixels, more than {MAX_PIXELS:,}") from None
    except UnreadableImageError:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImageError("it is not an image of a known format") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise UnreadableImageError(str(error) or type(error).__name__) from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Converts 16 bits per channel to the upper 8. Pillow's own conversion would clip at 255."""
    if not image.mode.startswith("I"):
        return image
    upper = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65_535) >> 8).astype(np.uint8))
    upper.info = image.info
    return upper


def _opaque(image: Image.Image) -> Image.Image:
    """Puts an image with transparent parts on a white background."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}")
