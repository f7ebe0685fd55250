"""Tables of a benchmark's record, for a terminal and for Markdown."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rounds import LIFETIME

from resnet_alexnet.errors import InputError

Rows = Sequence[Sequence[str]]  # the first is the header


def lines_rows(record: Mapping[str, Any]) -> Rows:
    """The lines: what ran, on how many cores, and how fast."""
    header = (
        "line",
        "what it does",
        "cores",
        "images/s, median (least to greatest)",
        "images per second of CPU time",
        "others, %",
    )
    return [
        header,
        *(
            (
                line["name"],
                line["about"],
                str(line["cores"]),
                _spread(line["images_per_second"]),
                f"{line['images_per_cpu_second']['median']:,.0f}" if line["images_per_cpu_second"] else "",
                f"{line['others_percent']:g}",
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


def memory_rows(record: Mapping[str, Any]) -> Rows:
    """Start and memory of loaders with many workers."""
    header = ("loader", "first batch after, s", "MB after a round", "MB after the last", "MB at most", "MB of a worker")
    return [
        header,
        *([line["name"], *(f"{value:,}" for value in list(line.values())[1:])] for line in record["memory"]),
    ]


def lifetimes_rows(record: Mapping[str, Any]) -> Rows:
    """Start, memory and end of worker processes."""
    header = (
        "worker processes",
        "starts",
        "first batch after, s",
        "CPU s of the workers by then",
        "MB of all",
        "MB of a worker",
        "processes left by SIGKILL",
        "names of shared memory left",
    )
    return [
        header,
        *(
            (
                row["name"],
                str(row["starts"]),
                *(_spread(row[key]) for key in LIFETIME[:4]),
                *(f"{row[key]['median']:g}" for key in LIFETIME[4:]),
            )
            for row in record.get("lifetimes", ())
        ),
    ]


def setup_rows(record: Mapping[str, Any]) -> Rows:
    """On what it was measured, and with what."""
    hardware, photos, settings = record["hardware"], record["photos"], record["settings"]
    subsampling = ", ".join(f"{count} {name}" for name, count in photos["subsampling"].items())
    return [
        ("measured", record["date"]),
        ("processor", f"{hardware['processor']}, {hardware['cores']} cores, load {hardware['load_before']} before"),
        ("system", hardware["platform"]),
        (
            "photographs",
            f"{photos['count']} JPEG files ({subsampling}), {photos['mean_pixels']:,} pixels and "
            f"{photos['mean_bytes']:,} bytes in the mean",
        ),
        ("settings", ", ".join(f"{name} {value}" for name, value in settings.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items())),
    ]


def print_tables(console: Console, *tables: Rows) -> None:
    """Shows them on the terminal."""
    for header, *rows in tables:
        table = Table(*header)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def write_markdown(path: Path, tables: Sequence[Rows], *, mark: str) -> None:
    """Writes the tables between the marks <!-- MARK --> and <!-- /MARK --> of a Markdown file.

    Raises:
        InputError: no such file, or one without the marks.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    region = re.compile(rf"(?<=<!-- {re.escape(mark)} -->\n).*?(?=<!-- /{re.escape(mark)} -->)", re.DOTALL)
    if not region.search(text):
        raise InputError(f"{path} lacks the lines <!-- {mark} --> and <!-- /{mark} -->")
    new = "\n".join(["", *map(to_markdown, tables), ""])
    path.write_text(region.sub(lambda _: new, text, count=1), encoding="utf-8")


def to_markdown(rows: Rows) -> str:
    """One table in Markdown."""
    header, *rest = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, ["---"] * len(header), *rest))


def _spread(values: Mapping[str, float]) -> str:
    digits = 0 if values["median"] >= 10 else 2
    return "{median:,.{d}f} ({min:,.{d}f} to {max:,.{d}f})".format(**values, d=digits)
