"""From an encoded photograph to pixels. JPEG by libjpeg-turbo, everything else and every odd JPEG by Pillow."""

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

MAX_PIXELS = 89_478_485  # an image of more is taken for a decompression bomb; where Pillow begins to warn
_JPEG = b"\xff\xd8\xff"
_PLAIN_PPM = re.compile(rb"P6\n([1-9]\d{0,8}) ([1-9]\d{0,8})\n255\n")  # as raw sets have it; width, height
# Markers of JPEG segments: what cameras add, frame headers, restart markers announced, compressed data following.
_APP1, _FRAMES, _RESTARTS, _SCAN = 0xE1, {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}, 0xDD, 0xDA
_SEQUENTIAL = (0xC0, 0xC1)  # of the frame headers: Huffman-coded row by row, not progressive, lossless or arithmetic
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright
# How pixels of each other orientation are turned upright.
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels.transpose(1, 0, 2)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels.transpose(1, 0, 2)[::-1],
}
_MODES = {1: "L", 3: "RGB"}  # Pillow's names, by channels
COLORSPACES = {1: "GRAY", 3: "RGB"}  # simplejpeg's


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; the message is the reason in a few words, without the file's name."""


class Header(NamedTuple):
    """What the headers of an RGB or gray JPEG tell.

    Attributes:
        height: rows of pixels, as they are stored.
        width: columns of pixels, as they are stored.
        components: 3, or 1 for a gray one.
        orientation: EXIF's; 1 is upright.
        sequential: whether one stream without restart markers codes its rows from the first to the last.
        frame: where in the file the frame header begins, bytes.
    """

    height: int
    width: int
    components: int
    orientation: int
    sequential: bool
    frame: int

    @property
    def upright(self) -> bool:
        """Whether the pixels are stored as they are shown; an orientation that EXIF does not know is none."""
        return self.orientation not in _UPRIGHT


def decode(data: bytes, *, channels: int = 3) -> Pixels:
    """Decodes an image of any usual format, told from its first bytes and not from its name.

    It is turned upright as its EXIF orientation says. Gray, palette and CMYK become RGB (or RGB becomes gray), 16 bits
    become the upper 8, transparent pixels lie on white, and of an animation the first frame is taken. Of binary
    PPM, as raw sets have it, the pixels are a read-only view of `data`.

    Args:
        data: the file's bytes.
        channels: 3 for RGB, 1 for gray.

    Raises:
        UnreadableImageError: empty, damaged, cut off, of an unknown format, or of more than MAX_PIXELS pixels.
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    pixels = _decode_plain_jpeg(data, channels) if data.startswith(_JPEG) else _view_plain_ppm(data, channels)
    return _decode_with_pillow(data, channels) if pixels is None else pixels


def ignore_pillows_warnings() -> None:
    """Keeps what Pillow warns of odd files off a worker's terminal; what matters is raised, with the file's name."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def is_plain_jpeg(data: bytes) -> bool:
    """Whether these are the bytes of an upright RGB or gray JPEG, by its headers alone."""
    header = read_header(data)
    return header is not None and header.upright


def is_gray_jpeg(data: bytes) -> bool:
    """Whether a plain JPEG has one component."""
    header = read_header(data)
    return header is not None and header.upright and header.components == 1


def read_header(data: bytes) -> Header | None:
    """What the headers of an RGB or gray JPEG tell, None of any other file or where they are not whole.

    A look at its segments, up to the compressed data.

    Raises:
        UnreadableImageError: it is too large.

    Source: ITU-T T.81, annex B: a segment is FF, marker, and length in two bytes with these; in a frame header
        precision, height, width and number of components follow.
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
    """The orientation that an EXIF segment tells, 1 where it is upright, unknown or unreadable."""
    try:
        tags = Image.Exif()
        tags.load(exif)
        return tags.get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF raises errors of many types, and is no reason to refuse the pixels
        return 1


def _decode_plain_jpeg(data: bytes, channels: int) -> Pixels | None:
    """The pixels of an RGB or gray JPEG without flaws, as libjpeg's default settings give them; None for any other."""
    header = read_header(data)
    if header is None:
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, COLORSPACES[channels], strict=True)
    except ValueError:  # a flaw that Pillow forgives, or damage that it explains
        return None
    return pixels if header.upright else np.ascontiguousarray(_UPRIGHT[header.orientation](pixels))


def _view_plain_ppm(data: bytes, channels: int) -> Pixels | None:
    """The pixels of a whole binary PPM of 8 bits a channel without comments; None for any other file, and for gray."""
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
        raise UnreadableImageError("it is no image of a known format") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise UnreadableImageError(str(error) or type(error).__name__) from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel: the upper ones of 16, where Pillow's own conversion would cut at 255."""
    if not image.mode.startswith("I"):
        return image
    upper = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65_535) >> 8).astype(np.uint8))
    upper.info = image.info
    return upper


def _opaque(image: Image.Image) -> Image.Image:
    """The image on a white ground, where parts of it are transparent."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
