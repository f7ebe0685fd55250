"""A comparison of runs as a page: one HTML file with the picture inside, which loads nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from resnet_alexnet.errors import printable
from resnet_alexnet.files import atomic_write
from resnet_alexnet.plots.overlay import svg_overlay
from resnet_alexnet.study.compare import Run
from resnet_alexnet.study.comparison import HEADER, cells, differences, same_numbers, show

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Comparison of runs</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2em auto; max-width: 75em;
  padding: 0 1em; }
table { border-collapse: collapse; margin: 0.5em 0 1.5em; display: block; overflow-x: auto; }
th, td { padding: 0.25em 0.8em; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
th { background: #f4f4f4; }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; }
svg { width: 100%; height: auto; }
</style>
</head>
<body>
<h1>Comparison of runs</h1>
"""


def write_page(runs: Sequence[Run], path: Path) -> None:
    """Writes the page, atomically.

    Raises:
        InputError: there is nothing to draw, or the file cannot be written.
    """
    text = _HEAD + "\n".join(_body(runs)) + "\n</body>\n</html>\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _body(runs: Sequence[Run]) -> Iterator[str]:
    rows = [("#", *HEADER[1:]), *((str(number), *cells(run)) for number, run in enumerate(runs, start=1))]
    yield from _table(rows)
    yield svg_overlay(curves(runs))
    for title, found in differences(runs).items():
        yield f"<h2>{escape(title.capitalize())}</h2>"
        if not found:
            yield "<p>None.</p>"
            continue
        head = ("field", *(f"{number} {run.name}" for number, run in enumerate(runs, start=1)))
        shown = ((name, *(_value(values, index) for index in range(len(runs)))) for name, values in found.items())
        yield from _table([head, *shown])
    notes = [(str(number), run.name, run.note) for number, run in enumerate(runs, start=1) if run.note]
    goodput = [(str(number), run.name, str(run.goodput())) for number, run in enumerate(runs, start=1) if run.goodput()]
    for title, rows in (("Notes", notes), ("Goodput", goodput)):
        if rows:
            yield f"<h2>{title}</h2>"
            yield from _table([("#", "run", ""), *rows])
    for line in same_numbers(runs):
        yield f"<p>{escape(line.capitalize())}.</p>"


def curves(runs: Sequence[Run]) -> dict[str, Sequence]:
    """The lines of the runs by the names that a picture shows: with their numbers."""
    return {printable(f"{number} {run.name}"): run.lines for number, run in enumerate(runs, start=1)}


def _table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    head, *others = rows
    yield "<table>"
    yield "<tr>" + "".join(f'<th scope="col">{_text(cell)}</th>' for cell in head) + "</tr>"
    for row in others:
        yield "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _value(values: Mapping[int, object], index: int) -> str:
    return show(values[index]) if index in values else "-"


def _text(text: str) -> str:
    return escape(printable(text))
