"""The results of a sweep: a CSV of its runs, a table of its settings, and a picture."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from resnet_alexnet.errors import shorten
from resnet_alexnet.files import atomic_write
from resnet_alexnet.study.points import SEED, Point, Sweep, short_names, shown
from resnet_alexnet.study.state import RunState, read_state, read_test_errors
from resnet_alexnet.workdir.metrics_log import VAL_ERROR

CSV_FILE, TABLE_FILE, PICTURE_FILE = "runs.csv", "table.txt", "sweep.png"
_COLUMNS, _LEAST = 80, 5  # of the table, and of a column of it that is shortened


@dataclass(frozen=True)
class Result:
    """A point and how far its run is."""

    point: Point
    state: RunState

    @property
    def is_complete(self) -> bool:
        """Whether it has done all its steps."""
        return self.state.reached(self.point.config.num_steps)

    @property
    def status(self) -> str:
        """What became of it, in words."""
        if self.is_complete:
            return "finished"
        if self.state.failed_check:
            return f"{self.state.end} at step {self.state.step}"
        return f"step {self.state.step} of {self.point.config.num_steps}" if self.state.lines else "not run"


def read_results(sweep: Sweep, workdir: Path) -> list[Result]:
    """How far each point of a sweep is.

    Raises:
        InputError: the metrics of a run are damaged.
    """
    return [Result(point, read_state(workdir / point.name)) for point in sweep.points]


def by_setting(results: Sequence[Result]) -> dict[tuple, list[Result]]:
    """The results of each setting, by its fields without the seed; the lowest mean error first.

    Settings of which a run diverged or was stuck come after those of which none did.
    """
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        groups.setdefault(result.point.setting, []).append(result)
    return dict(sorted(groups.items(), key=lambda group: _rank(group[1])))


def _rank(results: Sequence[Result]) -> tuple[bool, bool, float]:
    errors = final_errors(results)
    return not errors, any(result.state.failed_check for result in results), fmean(errors) if errors else 0.0


def final_errors(results: Sequence[Result]) -> list[float]:
    """The last validation errors of the complete runs, in percent."""
    return [error for each in results if each.is_complete and (error := each.state.error()) is not None]


def collect(sweep: Sweep, workdir: Path) -> list[str]:
    """Writes the CSV, the table and the picture to the folder of the sweep; returns the lines of the table.

    Raises:
        InputError: a file cannot be written, or the metrics of a run are damaged.
    """
    results = read_results(sweep, workdir)
    lines = list(_table(sweep, results))
    for name, text in ((CSV_FILE, _csv(sweep, results, workdir)), (TABLE_FILE, "\n".join(lines) + "\n")):
        with atomic_write(workdir / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    written = [CSV_FILE, TABLE_FILE]
    if any(result.state.error() is not None for result in results):
        _draw(sweep, results, workdir / PICTURE_FILE)
        written.append(PICTURE_FILE)
    return [*lines, f"written: {workdir} ({', '.join(written)})"]


def _csv(sweep: Sweep, results: Sequence[Result], workdir: Path) -> str:
    """A row for each run. Errors in percent, throughput in images per second; what is not there is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("validation_error", "best_validation_error", "best_step", "training_error", "training_loss")
    writer.writerow(["run", *sweep.varied, "status", "step", *columns, "images_per_second", "test_error", "config"])
    test_errors = read_test_errors(workdir)
    for result in results:
        point, state = result.point, result.state
        best, step = state.best() or (None, None)
        training = [state.last(key) for key in ("train/top1_error", "train/loss", "images_per_second")]
        writer.writerow(
            [
                str(workdir / point.name),
                *(shown(point.fields[field]) if field in point.fields else "" for field in sweep.varied),
                *(
                    result.status,
                    state.step,
                    state.error(),
                    best,
                    step,
                    *training,
                    test_errors.get(point.name),
                    point.digest,
                ),
            ]
        )
    return text.getvalue()


def _table(sweep: Sweep, results: Sequence[Result]) -> Iterator[str]:
    """A line for each setting, the best first; of a terminal's width, if that leaves room for the fields."""
    names = short_names([field for field in sweep.varied if field != SEED])
    rows = [[*names.values(), "runs", "error %", "dev", "lowest"]]
    for setting, group in by_setting(results).items():
        values, errors = dict(setting), final_errors(group)
        lowest = [best[0] for each in group if (best := each.state.best()) is not None]
        ends = Counter(result.state.end for result in group if result.state.failed_check)
        failed = "".join(f", {count} {end}" for end, count in ends.items())
        error = f"{fmean(errors):.2f}{failed}" if errors else _status(group)
        rows.append(
            [
                *(shown(values[field]) if field in values else "-" for field in names),
                f"{len(errors)}/{len(group)}",
                error,
                f"{stdev(errors):.2f}" if len(errors) > 1 else "-",
                f"{min(lowest):.2f}" if lowest else "-",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    longest = max(widths)
    while sum(widths) + 2 * (len(widths) - 1) > _COLUMNS and longest > _LEAST:
        longest -= 1
        widths[: len(names)] = [min(width, longest) for width in widths[: len(names)]]
    for row in rows:
        cells = (shorten(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _status(group: Sequence[Result]) -> str:
    first, *others = dict.fromkeys(result.status for result in group)
    return f"{first}, …" if others else first


def _draw(sweep: Sweep, results: Sequence[Result], path: Path) -> None:
    from resnet_alexnet.plots.sweep import Setting, draw_sweep  # here, because matplotlib takes a second to import

    names = short_names([field for field in sweep.varied if field != SEED])
    settings = []
    for setting, group in by_setting(results).items():
        values: dict[str, Any] = {names[field]: dict(setting).get(field) for field in names}
        curves = []
        for result in group:
            lines = [line for line in result.state.lines if line.get(VAL_ERROR) is not None]
            curves.append(([line["step"] for line in lines], [line[VAL_ERROR] for line in lines]))
        settings.append(Setting(values, curves, final_errors(group)))
    draw_sweep(settings, path, title=f"{sweep.name}: {len(results)} runs of {sweep.base}")
