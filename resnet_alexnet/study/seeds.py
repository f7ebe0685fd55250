"""What became of a run that counts: its numbers if it is finished, read once from its files; else how far it came."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.measured import CURVES, XY, Curve
from resnet_alexnet.study.measurements import FOLDER
from resnet_alexnet.study.metrics import METRICS
from resnet_alexnet.study.state import MeasuredRun
from resnet_alexnet.workdir.metrics_log import METRICS_FILE

MISSING, UNFINISHED, UNREADABLE, FINISHED = "missing", "unfinished", "unreadable", "finished"
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Seed:
    """A run that counts, or what became of it. Only a finished one has numbers.

    Attributes:
        seed: its number.
        status: "finished", "missing", "unfinished", "unreadable", or how its check failed: "diverged" or "stuck".
        folder: of the run; None if it is missing.
        steps: those that it has done, of how many; None if it has no metrics, as an ensemble.
        numbers: by the names of METRICS, those that its files have.
        points: by the names of CURVES.
        lines: of metrics.jsonl.
        test_images: how many it was tested on; None if its files do not say.
    """

    seed: int
    status: str
    folder: Path | None = None
    steps: tuple[int, int] | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    points: Mapping[str, Sequence[XY]] = field(default_factory=dict)
    lines: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    test_images: int | None = None


def read_run(seed: int, run: MeasuredRun, problems: list[str]) -> Seed:
    """What became of a run whose folder exists.

    Args:
        seed: its number.
        run: the folder, with the steps that it is to do.
        problems: takes a line for each file that is damaged.
    """
    try:
        state = run.state
    except InputError as error:
        problems.append(f"{error}: the run is left out")
        return Seed(seed, UNREADABLE, run.path)
    steps = (state.step, run.num_steps)
    if run.is_complete:
        return _read_finished(seed, run, steps, problems)
    return Seed(seed, state.end if state.failed_check else UNFINISHED, run.path, steps)


def read_ensemble(seed: int, folders: Sequence[Path], problems: list[str]) -> Seed:
    """An ensemble, from the first of the folders in which it was evaluated; missing if it was in none."""
    there = [MeasuredRun(folder) for folder in folders if MeasuredRun(folder).is_complete]
    return _read_finished(seed, there[0], None, problems) if there else Seed(seed, MISSING)


def _read_finished(seed: int, run: MeasuredRun, steps: tuple[int, int] | None, problems: list[str]) -> Seed:
    def read(measurement: str, what: Callable[[MeasuredRun], _Read]) -> _Read | None:
        if is_ensemble and measurement not in ("", "test"):
            return None
        try:
            return what(run)
        except InputError as error:
            problems.append(f"{error}: what it says is left out")
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            file = run.path / FOLDER / measurement if measurement else run.path / METRICS_FILE
            problems.append(f"{file} lacks what it should have: what it says is left out")
        return None

    is_ensemble = steps is None  # which has the report of a test, and nothing else
    numbers = {name: read(metric.needs, metric.read) for name, metric in METRICS.items()}
    points = {name: read(curve.measurement, partial(_points, curve)) for name, curve in CURVES.items()}
    return Seed(
        seed,
        FINISHED,
        run.path,
        steps,
        {name: value for name, value in numbers.items() if value is not None},
        {name: found for name, found in points.items() if found},
        run.state.lines if steps else (),
        read("test", _test_images),
    )


def _points(curve: Curve, run: MeasuredRun) -> list[XY]:
    """The points of a curve; none if it was not measured."""
    measured = run.measured(curve.measurement)
    return [] if measured is None else list(curve.points(measured))


def _test_images(run: MeasuredRun) -> int | None:
    measured = run.measured("test")
    return None if measured is None else int(measured["images"])
