"""A comparison of runs as text: a table for people, CSV, and JSON."""

import csv
import io
import json
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resnet_alexnet.errors import printable, shorten
from resnet_alexnet.study.compare import Run, differing, first_difference

HEADER = ("", "run", "state", "steps", "val %", "best %", "test %", "images/s", "goodput")
_LEFT = 3  # columns that are aligned to the left
_LONGEST_VALUE = 60  # characters
_FEW = 4  # runs


def cells(run: Run) -> tuple[str, ...]:
    """The row of a run, behind its number: name, state, steps, errors in percent, throughput, goodput."""
    found = run.summary()
    errors = (_decimals(found[name], 2) for name in ("val_error", "best_val_error", "test_error"))
    goodput = found["goodput_percent"]
    shown = "-" if goodput is None else f"{goodput:.0f} %"
    return (run.name, run.state, f"{run.steps:,}", *errors, _decimals(found["images_per_second"], 0), shown)


def _decimals(value: object, decimals: int) -> str:
    return f"{value:,.{decimals}f}" if isinstance(value, int | float) else "-"


def format_table(runs: Sequence[Run], width: int) -> str:
    """The comparison as lines of at most `width` characters, if the errors and rates leave room for the names."""
    return "\n".join(printable(line) for line in _table(runs, width))


def _table(runs: Sequence[Run], width: int) -> Iterator[str]:
    rows = [HEADER, *((str(number), *cells(run)) for number, run in enumerate(runs, start=1))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[1] = min(widths[1], max(8, width - sum(widths) + widths[1] - 2 * (len(widths) - 1)))
    names = [HEADER[1], *_short_names([run.name for run in runs], widths[1])]
    for name, row in zip(names, rows, strict=True):
        row = (row[0], name, *row[2:])
        columns = zip(row, widths, range(len(row)), strict=True)
        aligned = (cell.ljust(wide) if 0 < i < _LEFT else cell.rjust(wide) for cell, wide, i in columns)
        yield "  ".join(aligned).rstrip()
    if any(len(run.name) > widths[1] for run in runs):
        yield from ("", "names")
        for number, run in enumerate(runs, start=1):
            yield from textwrap.wrap(f"  {number}: {run.name}", width, subsequent_indent="      ")
    for title, found in differences(runs).items():
        yield ""
        yield f"{title} (in brackets: the numbers of the runs)" if found else f"{title}: none"
        for name, values in found.items():
            shown = ", ".join(f"{value} ({numbers})" for value, numbers in group(values).items())
            yield from textwrap.wrap(f"  {name}: {shown}", width, subsequent_indent="      ", break_on_hyphens=False)
    notes = [f"  {number}: {note}" for number, run in enumerate(runs, start=1) for note in notes_of(run, len(runs))]
    notes += [f"  {line}" for line in same_numbers(runs)]
    if notes:
        yield ""
        yield "notes"
        for note in notes:
            yield from textwrap.wrap(note, width, subsequent_indent="      ", break_on_hyphens=False)


def _short_names(names: Sequence[str], width: int) -> list[str]:
    """Names of at most `width` characters: the parts that all have are left out first, then the beginning."""
    if all(len(name) <= width for name in names):
        return list(names)
    parts = [re.findall(r"[^,/]+[,/]?", name) for name in names]
    common = set.intersection(*({part.rstrip(",/") for part in each} for each in parts))
    own = ["".join(part for part in each if part.rstrip(",/") not in common).rstrip(",/") for each in parts]
    if len(set(own)) < len(names) or not all(own):  # the parts do not tell them apart
        own = list(names)
    short = [shorten(name, width) for name in own]
    if len(set(short)) < len(names):
        columns = enumerate(zip(*own, strict=False))
        start = next((place for place, letters in columns if len(set(letters)) > 1), min(map(len, own)))
        short = [f"…{name[start:]}"[:width] for name in own]
    return short


def notes_of(run: Run, count: int) -> list[str]:
    """What else there is to say about a run, of `count` in all: where its time went is only told of a few."""
    goodput = run.goodput() if count <= _FEW else None
    return [*([run.note] if run.note else []), *([f"goodput {goodput}"] if goodput else [])]


def differences(runs: Sequence[Run]) -> dict[str, dict[str, dict[int, Any]]]:
    """The fields of the config and of the environment that differ, with the values by the index of the run."""
    return {
        "fields of the config that differ": differing([run.config for run in runs]),
        "differences of the environment": differing([run.environment for run in runs]),
    }


def group(values: Mapping[int, Any]) -> dict[str, str]:
    """The numbers of the runs, such as "1, 3-5", by the value that they have; the keys are the indices of the runs."""
    members: dict[str, list[int]] = {}
    for index, value in values.items():
        members.setdefault(show(value), []).append(index + 1)
    return {shorten(value, _LONGEST_VALUE): _ranges(numbers) for value, numbers in members.items()}


def show(value: object) -> str:
    """The value of a field."""
    return "unset" if value is None else value if isinstance(value, str) and value else json.dumps(value)


def _ranges(numbers: Sequence[int]) -> str:
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def same_numbers(runs: Sequence[Run]) -> list[str]:
    """Which runs have the same numbers as the first, to the last bit; empty if that cannot be asked."""
    told = [(number, run) for number, run in enumerate(runs, start=1) if run.computed]
    if len(told) < 2:
        return []
    (first, one), *others = told
    same = [number for number, run in others if first_difference(one, run) is None]
    return [f"the metrics of {_ranges([first, *same])} are the same, to the last bit"] if same else []


def format_csv(runs: Sequence[Run]) -> str:
    """A row for each run: what it has come to, and the fields that differ. Empty: not measured; nan: not a number."""
    config, environment = differences(runs).values()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [*(f"config.{name}" for name in config), *(f"environment.{name}" for name in environment)]
    writer.writerow(["run", *_summary_names(), *names, "note"])
    for index, run in enumerate(runs):
        fields = (values.get(index) for values in (*config.values(), *environment.values()))
        shown = (json.dumps(value) if isinstance(value, list | bool) else value for value in fields)
        writer.writerow([run.name, *run.summary().values(), *shown, run.note])
    return file.getvalue().rstrip("\n")


def _summary_names() -> list[str]:
    return list(Run("", "").summary())


def format_json(runs: Sequence[Run]) -> str:
    """The comparison as one JSON object; what is not a number is null, and listed in "not_numbers"."""
    config, environment = differences(runs).values()

    def of(run: Run, index: int) -> Mapping[str, Any]:
        summary, goodput = run.summary(), run.goodput()
        broken = [name for name, value in summary.items() if isinstance(value, float) and not math.isfinite(value)]
        return {
            "run": run.name,
            **{name: None if name in broken else value for name, value in summary.items()},
            **({"not_numbers": broken} if broken else {}),
            "seconds_by_part": dict(goodput.seconds) if goodput else None,
            "config": {name: values.get(index) for name, values in config.items()},
            "environment": {name: values.get(index) for name, values in environment.items()},
            "note": run.note,
        }

    return json.dumps({"runs": [of(run, index) for index, run in enumerate(runs)]}, indent=2, allow_nan=False)


FORMATS = {"csv": format_csv, "json": format_json}
