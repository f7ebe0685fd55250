"""From an encoded photograph to pixels. JPEG by libjpeg-turbo, everything else and every odd JPEG by Pillow."""

import io

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, ImageOps

MAX_PIXELS = 89_478_485  # an image of more is taken for a decompression bomb; where Pillow begins to warn
_JPEG, _PPM = b"\xff\xd8\xff", b"P6\n"
_EXIF, _EXIF_WITHIN = b"Exif\0\0", 65_536  # bytes from the start in which a camera writes it
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright
_MODES = {1: "L", 3: "RGB"}

Pixels = UInt8[np.ndarray, "height width channels"]


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; the message is the reason in a few words, without the file's name."""


def decode(data: bytes, *, channels: int = 3) -> Pixels:
    """Decodes an image of any usual format, told from its first bytes and not from its name.

    It is turned upright as its EXIF orientation says. Grey, palette and CMYK become RGB (or RGB becomes grey), 16 bits
    become the upper 8, transparent pixels lie on white, and of an animation the first frame is taken. Binary PPM with
    values up to 255 is a read-only view of `data`.

    Args:
        data: the file's bytes.
        channels: 3 for RGB, 1 for grey.

    Raises:
        UnreadableImageError: empty, damaged, cut off, of an unknown format, or of more than MAX_PIXELS pixels.
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    if data.startswith(_PPM) and channels == 3:
        return _decode_ppm(data)
    pixels = _decode_plain_jpeg(data, channels) if data.startswith(_JPEG) else None
    return _decode_with_pillow(data, channels) if pixels is None else pixels


def is_plain_jpeg(data: bytes) -> bool:
    """Whether these are the bytes of an upright RGB or grey JPEG, by its header alone."""
    return data.startswith(_JPEG) and _plain_jpeg_size(data) is not None


def _plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in pixels of an upright RGB or grey JPEG; None for one that Pillow must look at."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    _check_size(width, height)
    if colours not in ("YCbCr", "RGB", "Gray"):
        return None
    if data.find(_EXIF, 0, _EXIF_WITHIN) >= 0 and _orientation(data) != 1:
        return None
    return height, width


def _orientation(data: bytes) -> int:
    """The EXIF orientation, 1 where it is upright, unknown or unreadable."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF raises errors of many types, and is no reason to refuse the pixels
        return 1


def _decode_plain_jpeg(data: bytes, channels: int) -> Pixels | None:
    """The pixels of a plain and flawless JPEG, as libjpeg's default settings give them; None for any other."""
    if _plain_jpeg_size(data) is None:
        return None
    try:
        return simplejpeg.decode_jpeg(data, "RGB" if channels == 3 else "GRAY", strict=True)
    except ValueError:  # a flaw that Pillow forgives, or damage that it explains
        return None


def _decode_ppm(data: bytes) -> Pixels:
    try:
        _, size, maximum, pixels = data.split(b"\n", 3)
        width, height = map(int, size.split())
        if int(maximum) != 255:
            raise ValueError
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    except ValueError:
        raise UnreadableImageError("it is cut off, or no binary PPM of 8 bits a channel") from None


def _decode_with_pillow(data: bytes, channels: int) -> Pixels:
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_size(*image.size)
            upright = ImageOps.exif_transpose(_eight_bits(image))
            return np.atleast_3d(np.asarray(_opaque(upright).convert(_MODES[channels])))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(f"it has too many pixels: {error}") from None
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
