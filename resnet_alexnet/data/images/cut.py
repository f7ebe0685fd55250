"""The views of encoded photographs, of which no more rows are decoded than the view shows, where that can be told."""

import re
from collections.abc import Callable

import numpy as np
import simplejpeg

from resnet_alexnet.data.images.decode import COLORSPACES, Header, Pixels, decode, read_header
from resnet_alexnet.data.images.geometry import RandomResizedCrop

Crop = Callable[..., np.ndarray]  # of an image and a random generator, which is None for testing: data/geometry.py

_BELOW = 4  # rows that are decoded below the last one asked for: smoothing color looks at the row below, of up to 4
_HEIGHT = 5  # where the height stands in a frame header, bytes; it has two
_UNWRITTEN = 77  # any value; a last row that has it throughout is only decoded once more
# libjpeg's one complaint of a JPEG that is cut and has no other flaw down to the cut: what follows it up to the end.
_REST = re.compile(r"Corrupt JPEG data: \d+ extraneous bytes before marker 0xd9")


def decode_crop(data: bytes, crop: Crop, rng: np.random.Generator | None, *, channels: int) -> Pixels:
    """The view of an encoded photograph: `view(decode(data, channels=channels), rng)` to the bit, but sooner.

    Where a view is a window of the photograph, it is drawn from the size in the headers, and the rows below it are not
    decoded. This changes no pixel and no draw, nor which photographs are unreadable: see `decode_rows`.

    Raises:
        UnreadableImageError: see `decode` and the views.
    """
    seen = _decode_window(data, crop, rng, channels=channels)
    return crop(decode(data, channels=channels), rng) if seen is None else seen


def _decode_window(data: bytes, crop: Crop, rng: np.random.Generator | None, *, channels: int) -> Pixels | None:
    """The view where it can be had from some rows alone; else None, and nothing drawn."""
    if not isinstance(crop, RandomResizedCrop) or rng is None:
        return None
    header = read_header(data)
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
    """Whether a JPEG's upper rows can be decoded alone, and so that damage to them shows.

    libjpeg tells of its first complaint only. In a progressive JPEG that would be what is left of the first scan, and
    with restart markers what is left up to the next of them: both would hide the others. Color as gray is left to
    `decode`, because Pillow, which takes the damaged ones, has other grays than libjpeg.
    """
    return header.sequential and header.upright and channels in (3, header.components)


def decode_rows(data: bytes, header: Header, rows: int, *, channels: int) -> Pixels | None:
    """At least the first `rows` rows that `decode` gives of a JPEG that can be cut; None where only it knows them.

    A smaller height is written into a copy of the file, and libjpeg decodes this with every check, reading on to the
    end of the image. It complains of the data that is left, as it must. This is accepted where it comes first, names
    the end of the image, and the last row has been written. So whatever flaw libjpeg sees down to the cut gives None,
    and so does what makes a JPEG unreadable anywhere: a file that is cut off, or a marker where none may be. Two kinds
    of damage remain that `decode` may notice, but forgives, with the same rows:

    - below the cut: bits that are wrong, or an end of the image that comes too early;
    - above it, where the data can still be read, as other pixels, but gets out of step with the rows.
    """
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
