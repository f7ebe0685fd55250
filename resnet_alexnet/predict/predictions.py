"""Writes predictions as a table, as JSON and as CSV."""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from resnet_alexnet.data.readers.imagenet_classes import display_name
from resnet_alexnet.errors import printable

_HEADER = ("photograph", "class", "probability")
_GAP = 2  # columns between two columns of the table
_PLAIN_WIDTH = 200  # columns of a table that is not written to a terminal


@dataclass(frozen=True)
class Prediction:
    """The prediction for a photograph.

    Attributes:
        photograph: the name of the photograph.
        classes: (class, probability), best first; empty after an error.
        error: why there is no prediction; else empty.
    """

    photograph: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str = ""


def write_json(predictions: Iterable[Prediction], file: TextIO) -> None:
    """Writes one JSON object per line: the photograph, and its predictions or the error."""
    for prediction in predictions:
        found = [
            {"class": name, "name": display_name(name), "probability": value} for name, value in prediction.classes
        ]
        result: dict[str, Any] = {"error": prediction.error} if prediction.error else {"predictions": found}
        print(json.dumps({"photograph": prediction.photograph, **result}), file=file, flush=True)


def write_csv(predictions: Iterable[Prediction], file: TextIO) -> None:
    """Writes one row per predicted class, and one row per photograph without a prediction."""
    shown = printable if file.isatty() else str
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("photograph", "rank", "class", "name", "probability", "error"))
    for prediction in predictions:
        if prediction.error:
            writer.writerow((prediction.photograph, "", "", "", "", prediction.error))
        for rank, (name, value) in enumerate(prediction.classes, start=1):
            writer.writerow((prediction.photograph, rank, shown(name), display_name(name), value, ""))
        file.flush()


def write_table(predictions: Iterable[Prediction], file: TextIO, *, longest: tuple[int, int] = (40, 30)) -> None:
    """Writes a table row by row, with lines on a terminal and plain elsewhere.

    The first row of a photograph has its name. The widths of the columns are those of the longest entries, as far as
    they fit, because a row is written before the next one is known.

    Args:
        predictions: the predictions; each is written as soon as it is there.
        file: where to write.
        longest: characters of the longest name of a photograph, and of the longest class.
    """
    live = file.isatty()
    console = Console(file=file, width=None if live else _PLAIN_WIDTH, highlight=False)
    room = max(console.width - len(_HEADER[2]) - 2 * _GAP, 2)
    classes = min(max(longest[1], len(_HEADER[1])), room // 2)
    names = min(max(longest[0], len(_HEADER[0])), room - classes)
    widths = (names, classes, len(_HEADER[2]))

    def write(table: Table) -> None:
        with console.capture() as text:  # rich itself would exit with code 1 on a closed pipe
            console.print(table)
        print("\n".join(line.rstrip() for line in text.get().splitlines()), file=file, flush=True)

    header = _grid(widths)
    header.add_row(*_HEADER)
    if live:
        header.add_row(*("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * width for width in widths))
    write(header)
    for prediction in predictions:
        name = Text(printable(prediction.photograph))
        table = _grid((names,) if prediction.error else widths)
        if prediction.error:
            table.add_row(name, Text(printable(f"not classified: {prediction.error}")))
        for rank, (found, value) in enumerate(prediction.classes, start=1):
            table.add_row(name if rank == 1 else "", Text(display_name(found)), f"{100 * value:>9.1f} %")
        if live:
            table.add_row("")
        write(table)


def _grid(widths: Sequence[int]) -> Table:
    """A table without lines and header, with columns of these widths, _GAP apart."""
    columns = [Column(width=width, overflow="fold") for width in widths]
    return Table(*columns, box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))


WRITERS: dict[str, Callable[[Iterable[Prediction], TextIO], None]] = {
    "table": write_table,
    "json": write_json,
    "csv": write_csv,
}
