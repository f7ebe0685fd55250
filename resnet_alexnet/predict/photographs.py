"""Finds the photographs on a command line: files, folders, lists of names, standard input."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from resnet_alexnet.data.images.decode import UnreadableImageError
from resnet_alexnet.data.readers.photo_files import LeftOut, list_photographs
from resnet_alexnet.errors import InputError, printable

STDIN = "-"
_MOST_BYTES = 2**30  # more than the largest image that is decoded takes uncompressed
_BYTES_AT_ONCE = 2**20


@dataclass(frozen=True)
class Photograph:
    """A photograph.

    Attributes:
        name: the name to print.
        read: reads its bytes; raises OSError or UnreadableImageError if it cannot.
    """

    name: str
    read: Callable[[], bytes]


def find_photographs(
    words: Sequence[str], listed: str = "", *, report: Callable[[str], None] = print
) -> Iterator[Photograph]:
    """Yields the photographs on a command line, in order.

    Args:
        words: files; folders, whose photographs are at any depth and sorted by path, see `photo_files`; or "-", an
            image on standard input. A ~ at the beginning is the home folder.
        listed: a file with such words, one per line; "-" for standard input.
        report: called with each line about what is left out of a folder.

    Raises:
        InputError: the list cannot be read, or standard input is used twice. Raised at the first photograph.
    """
    words = [*words, *(_read_list(listed) if listed else ())]
    if words.count(STDIN) + (listed == STDIN) > 1:
        raise InputError("standard input can be read only once: give - only once")
    for word in filter(None, words):
        if word == STDIN:
            yield Photograph("standard input", partial(_read, sys.stdin.buffer))
        elif os.path.isdir(path := Path(os.path.expanduser(word))):
            left_out = LeftOut()
            for name in list_photographs(path, left_out):
                file = path / os.fsdecode(name)
                yield Photograph(printable(str(file)), partial(_read_file, file))
            for line in left_out.describe(word):
                report(line)
        else:
            yield Photograph(printable(word), partial(_read_file, path))


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return _read(file)


def _read(file: BinaryIO) -> bytes:
    """Reads a file, which may be endless, up to _MOST_BYTES."""
    parts, length = [], 0
    while part := file.read(_BYTES_AT_ONCE):
        parts.append(part)
        length += len(part)
        if length > _MOST_BYTES:
            raise UnreadableImageError(f"the file has more than {_MOST_BYTES:,} bytes")
    return b"".join(parts)


def _read_list(name: str) -> list[str]:
    try:
        text = sys.stdin.read() if name == STDIN else Path(os.path.expanduser(name)).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"--list={name} cannot be read: {reason}") from None
    return [line for line in map(str.strip, text.splitlines()) if line]
