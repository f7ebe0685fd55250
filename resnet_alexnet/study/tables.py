"""Tables as text: Markdown between the marks of a document, and columns for a terminal."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write

Rows = Sequence[Sequence[str]]  # the first row is the header


def to_markdown(rows: Rows) -> str:
    """Formats a table as Markdown."""
    header, *rest = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, ["---"] * len(header), *rest))


def align(rows: Rows, width: int) -> Iterator[str]:
    """The lines of a table, in columns or, if they exceed `width`, a block of lines for each row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * len(widths) - 2 <= width:
        for row in rows:
            yield "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()
        return
    header, *rest = rows
    for first, *cells in rest:
        yield first
        yield from (f"  {title}: {cell}" for title, cell in zip(header[1:], cells, strict=True))


def read_document(path: Path) -> str:
    """The text of a document.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def replace_region(text: str, mark: str, new: str, *, path: Path) -> str:
    """The text of a document with `new` between its lines <!-- MARK --> and <!-- /MARK -->.

    Raises:
        InputError: the document, which is at `path`, has no such lines.
    """
    region = re.compile(rf"(?<=<!-- {re.escape(mark)} -->\n).*?(?=<!-- /{re.escape(mark)} -->)", re.DOTALL)
    if not region.search(text):
        raise InputError(f"{path} lacks the lines <!-- {mark} --> and <!-- /{mark} -->")
    return region.sub(lambda _: new, text, count=1)


def write_document(path: Path, text: str) -> None:
    """Writes a document, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
