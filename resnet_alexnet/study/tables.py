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


def replace_region(document: Path, mark: str, new: str) -> str:
    """The text of a document with `new` between its lines <!-- MARK --> and <!-- /MARK -->.

    Raises:
        InputError: the file cannot be read or has no marks.
    """
    try:
        text = document.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{document} cannot be read: {error.strerror or error}") from None
    region = re.compile(rf"(?<=<!-- {re.escape(mark)} -->\n).*?(?=<!-- /{re.escape(mark)} -->)", re.DOTALL)
    if not region.search(text):
        raise InputError(f"{document} lacks the lines <!-- {mark} --> and <!-- /{mark} -->")
    return region.sub(lambda _: new, text, count=1)


def write_region(document: Path, mark: str, new: str) -> None:
    """Writes `new` between the marks of a document, see `replace_region`."""
    text = replace_region(document, mark, new)
    with atomic_write(document) as temporary:
        temporary.write_text(text, encoding="utf-8")
