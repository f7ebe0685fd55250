"""How a photograph is held: its orientation by EXIF or XMP, read tolerantly, and its pixels turned upright.

Cameras and editors write EXIF with flaws of many kinds, which Pillow refuses as a whole. Only one number is needed.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from jaxtyping import UInt8

Pixels = UInt8[np.ndarray, "height width channels"]

EXIF = b"Exif\0\0"  # before the EXIF in JPEG files and, by some writers' mistake, in others
XMP = b"http://ns.adobe.com/xap/1.0/\0"  # before the XMP in JPEG files
# Turns the pixels of each orientation but 1, which is upright.
UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels.transpose(1, 0, 2)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels.transpose(1, 0, 2)[::-1],
}
_TAG = 0x0112  # of the orientation
# Bytes of a number, by its EXIF type: (S)BYTE, (S)LONG; any other is read as SHORT, which is the right one.
_BYTES = {1: 1, 6: 1, 4: 4, 9: 4}
_IN_XMP = re.compile(rb":Orientation(?:\s*=\s*[\"']|>)\s*([1-8])")
_SPACES = (b" ", b"\t", b"\n", b"\r")
_TIFF_PREFIX = re.compile(rb"xmlns:([\w.-]+)\s*=\s*[\"']http://ns\.adobe\.com/tiff/1\.0/[\"']")  # tiff as a rule
_PNG = b"\x89PNG\r\n\x1a\n"
# The start of text in PNG files with XMP; or EXIF or XMP in the forms in which exiftool and ImageMagick write them.
_PNG_METADATA = re.compile(rb"(?:XML:com\.adobe\.xmp|(Raw profile type (?:exif|xmp|APP1)))\0")
_AVIF, _AVIF_EXIF = b"ftypavi", re.compile(rb"(infe\x02.{7})Exif", re.DOTALL)  # the entry of an item in its list
_MOST_TEXT = 2**20  # bytes of compressed text to unpack at most


def find_orientation(exif: bytes, xmp: bytes) -> int:
    """Returns the orientation in EXIF or, if it has none, in XMP; 1 (upright) if neither has one.

    Source: Exif 2.3, section 4.6; XMP specification part 2, section 3.2 (the namespace tiff).
    """
    orientation = _read_exif(exif)
    if orientation is None:
        names = tuple(start + name for name in (b"tiff", *_TIFF_PREFIX.findall(xmp)[:3]) for start in (b"<", *_SPACES))
        return next((int(match[1]) for match in _IN_XMP.finditer(xmp) if xmp.endswith(names, 0, match.start())), 1)
    return orientation


def _read_exif(exif: bytes) -> int | None:
    """Returns the orientation in the first directory of EXIF, whatever its other entries are."""
    while exif.startswith(EXIF):
        exif = exif[len(EXIF) :]
    order: Literal["little", "big"] | None = {b"II": "little", b"MM": "big"}.get(exif[:2])  # type: ignore[assignment]
    if order is None:
        return None

    def number(start: int, size: int) -> int:
        return int.from_bytes(exif[start : start + size], order)

    first = number(4, 4) + 2
    for entry in range(first, min(first + 12 * number(first - 2, 2), len(exif) - 11), 12):
        if number(entry, 2) == _TAG:
            return number(entry + 8, _BYTES.get(number(entry + 2, 2), 2))
    return None


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turns pixels that are stored in an orientation. Orientations that EXIF does not define count as upright."""
    turn = UPRIGHT.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def strip_avif(data: bytes) -> bytes:
    """Returns an AVIF with its EXIF under a name that nobody reads. Other data is unchanged.

    Where it is damaged, libavif refuses the file. The orientation of an AVIF is in the image's properties, not in EXIF.

    Source: ISO/IEC 14496-12, section 8.11.6 (the box infe); AVIF specification, section 2.2.
    """
    return _AVIF_EXIF.sub(rb"\1skip", data, count=1) if data.startswith(_AVIF, 4) else data


def strip_png(data: bytes) -> tuple[bytes, int]:
    """Returns a PNG without the chunks that do not change its pixels, and its orientation.

    Text, profiles and their checksums are often large or damaged, which Pillow refuses. Other data is unchanged.

    Source: PNG specification, third edition, section 5.
    """
    if not data.startswith(_PNG):
        return data, 1
    kept, exif, xmp = [_PNG], b"", b""
    position = len(_PNG)
    for kind, start, end in _chunks(data):
        if kind[0] & 0x20 == 0 or kind == b"tRNS":  # a small first letter: not needed for the pixels
            kept.append(data[start - 8 : end + 4])
        elif kind == b"eXIf":
            exif = data[start:end]
        elif kind in _TEXT and (metadata := _PNG_METADATA.match(data, start, end)):
            text = _TEXT[kind](data[metadata.end() : end])
            text = _hexadecimal(text) if metadata[1] else text
            if text.startswith((EXIF, b"II", b"MM")):
                exif = exif or text
            else:
                xmp = xmp or text
        position = end + 4
    kept.append(data[position:])  # of a file that is cut off, what Pillow complains about
    return b"".join(kept), find_orientation(exif, xmp)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, start and end of the content of the whole chunks of a PNG, up to the last one."""
    position = len(_PNG)
    while position + 12 <= len(data):
        kind, start = data[position + 4 : position + 8], position + 8
        end = start + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            return
        yield kind, start, end
        position = end + 4


def _international_text(content: bytes) -> bytes:
    """Returns the text of an iTXt chunk: behind compression flag and method, a language and a translated keyword."""
    text = content[2:].split(b"\0", 2)[-1]
    return _unpack(text) if content[:1] == b"\1" else text


_TEXT: dict[bytes, Callable[[bytes], bytes]] = {
    b"tEXt": lambda content: content,
    b"zTXt": lambda content: _unpack(content[1:]),  # behind the compression method
    b"iTXt": lambda content: _international_text(content),
}


def _unpack(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, _MOST_TEXT)
    except zlib.error:
        return b""


def _hexadecimal(profile: bytes) -> bytes:
    """Returns the bytes of a profile as ImageMagick writes it: name, length, and digits on lines."""
    try:
        return bytes.fromhex(b"".join(profile.split(b"\n")[3:]).decode())
    except ValueError:
        return b""
