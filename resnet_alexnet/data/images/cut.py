"""Crops of encoded photographs. If possible, only the rows down to the end of the crop are decoded."""

import re
from collections.abc import Callable

import numpy as np

from resnet_alexnet.data.images.decode import COLORSPACES, MAX_PIXELS, Header, Pixels, decode, read_header
from resnet_alexnet.data.images.geometry import RandomResizedCrop

Crop = Callable[..., np.ndarray]  # (image, random generator or None for test crops) -> crop; see geometry.py

_BELOW = 4  # extra rows to decode below the crop: chroma upsampling reads the next row, which covers up to 4
_HEIGHT = 5  # offset of the height in a frame header, in bytes; the height is two bytes long
_UNWRITTEN = 77  # arbitrary marker; a real last row of this value only costs a second, full decoding
# libjpeg's only warning for a JPEG that is cut and has no other flaw above the cut: the data left up to the end.
_REST = re.compile(r"Corrupt JPEG data: \d+ extraneous bytes before marker 0xd9")


def decode_crop(
    data: bytes, crop: Crop, rng: np.random.Generator | None, *, channels: int, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """Returns exactly `crop(decode(data, channels=channels, max_pixels=max_pixels), rng)`, but faster.

    If the crop is a window of the photograph, the window is drawn from the size in the headers, and the rows below it
    are not decoded. Pixels, random draws, and which photographs are unreadable stay the same: see `decode_rows`.

    Raises:
        UnreadableImageError: see `decode` and the crops.
    """
    seen = _decode_window(data, crop, rng, channels=channels, max_pixels=max_pixels)
    return crop(decode(data, channels=channels, max_pixels=max_pixels), rng) if seen is None else seen


def _decode_window(
    data: bytes, crop: Crop, rng: np.random.Generator | None, *, channels: int, max_pixels: int
) -> Pixels | None:
    """Returns the crop if decoding its rows is enough. Else returns None and leaves `rng` unchanged."""
    if not isinstance(crop, RandomResizedCrop) or rng is None:
        return None
    header = read_header(data, max_pixels=max_pixels)
    if header is None or not can_be_cut(header, channels=channels):
        return None
    before = rng.bit_generator.state
    window = crop.window(header.height, header.width, rng)
    rows = decode_rows(data, header, window.bottom, channels=channels)
    if rows is None:
        rng.bit_generator.state = before
        return None
    return crop.finish(window.of(rows))


def can_be_cut(header: Header, *, channels: int) -> bool:
    """Whether a JPEG's upper rows can be decoded alone without hiding damage to them.

    libjpeg only reports its first warning. In a progressive JPEG this would be the rest of the first scan, and with
    restart markers the rest up to the next marker, so that later warnings would be hidden. Decoding color as gray is
    left to `decode`: Pillow, which decodes the damaged files, converts to other gray values than libjpeg.
    """
    return header.sequential and header.upright and channels in (3, header.components)


def decode_rows(data: bytes, header: Header, rows: int, *, channels: int) -> Pixels | None:
    """Decodes at least the first `rows` rows of a JPEG for which `can_be_cut` holds. None: use `decode` instead.

    A smaller height is written into a copy of the file. libjpeg decodes it in strict mode, reads to the end of the
    image, and warns about the data left over. This warning is accepted if it is the first one, refers to the end of
    the image, and the last row has been written. Any flaw that libjpeg sees above the cut therefore gives None. So
    does anything that makes a JPEG unreadable: a truncated file, or a misplaced marker. Two kinds of damage stay
    unnoticed. `decode` may notice them, but forgives them and returns the same rows:

    - below the cut: wrong bits, or an image that ends too early;
    - above the cut: data that can still be decoded, to wrong pixels, but is out of step with the rows.
    """
    import simplejpeg  # here: what takes steps on made-up images does not need it

    if rows + _BELOW >= header.height:
        return None
    pixels = np.empty((rows + _BELOW, header.width, channels), np.uint8)
    pixels[-1] = _UNWRITTEN
    cut, height = bytearray(data), header.frame + _HEIGHT
    cut[height : height + 2] = len(pixels).to_bytes(2, "big")
    try:
        simplejpeg.decode_jpeg(cut, COLORSPACES[channels], strict=True, buffer=pixels)
    except ValueError as complaint:
        if not _REST.fullmatch(str(complaint)):
            return None
    return None if (pixels[-1] == _UNWRITTEN).all() else pixels
