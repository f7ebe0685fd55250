"""Tables of a benchmark's record, for a terminal and for Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Rows = Sequence[Sequence[str]]  # the first is the header


def lines_rows(record: Mapping[str, Any]) -> Rows:
    """The lines: what ran, on how many cores, and how fast."""
    header = ("line", "what it does", "cores", "images/s, median (least to greatest)", "images per second of CPU time")
    return [
        header,
        *(
            (
                line["name"],
                line["about"],
                str(line["cores"]),
                _spread(line["images_per_second"]),
                f"{line['images_per_cpu_second']['median']:,.0f}",
            )
            for line in record["lines"]
        ),
    ]


def comparisons_rows(record: Mapping[str, Any]) -> Rows:
    """The comparisons: rates, ratio and goal."""
    header = ("compared with", "ours, images/s", "the other, images/s", "ratio, median (least to greatest)", "goal", "")
    return [
        header,
        *(
            (
                row["name"],
                f"{row['ours']:,.0f}",
                f"{row['peer']:,.0f}",
                _spread(row["ratio"]),
                "" if row["goal"] is None else f"{row['goal']:g}",
                {True: "reached", False: "missed", None: ""}[row["met"]],
            )
            for row in record["comparisons"]
        ),
    ]


def print_tables(console: Console, *tables: Rows) -> None:
    """Shows them on the terminal."""
    for header, *rows in tables:
        table = Table(*header)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def to_markdown(rows: Rows) -> str:
    """One table in Markdown."""
    header, *rest = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, ["---"] * len(header), *rest))


def _spread(values: Mapping[str, float]) -> str:
    digits = 0 if values["median"] >= 10 else 2
    return "{median:,.{d}f} ({min:,.{d}f} to {max:,.{d}f})".format(**values, d=digits)
