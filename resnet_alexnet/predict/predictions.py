"""Writes predictions as a table, as JSON and as CSV."""

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resnet_alexnet.data.readers.imagenet_classes import display_name
from resnet_alexnet.errors import printable

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


def write_table(predictions: Iterable[Prediction], file: TextIO) -> None:
    """Writes a table, with lines on a terminal and plain elsewhere. The first row of a photograph has its name."""
    live = file.isatty()
    table = Table(box=box.SIMPLE_HEAD if live else None, pad_edge=False)
    table.add_column("photograph", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("probability", justify="right")
    for prediction in predictions:
        name = printable(prediction.photograph)
        if prediction.error:
            table.add_row(Text(name), Text(printable(f"not classified: {prediction.error}")), "", end_section=True)
        for rank, (found, value) in enumerate(prediction.classes, start=1):
            shown = (Text(name if rank == 1 else ""), Text(display_name(found)), f"{100 * value:.1f} %")
            table.add_row(*shown, end_section=rank == len(prediction.classes))
    console = Console(file=file, width=None if live else _PLAIN_WIDTH, highlight=False)
    with console.capture() as text:  # rich itself would exit with code 1 on a closed pipe
        console.print(table)
    print(text.get(), end="", file=file, flush=True)


WRITERS: dict[str, Callable[[Iterable[Prediction], TextIO], None]] = {
    "table": write_table,
    "json": write_json,
    "csv": write_csv,
}
