"""How far the runs of a sweep are, from their files alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json
from resnet_alexnet.study.measurements import REPORT_FILE, measurement_report
from resnet_alexnet.workdir.goodput import ENDS, FAILED_CHECKS, FINISHED, NUM_STEPS, START
from resnet_alexnet.workdir.metrics_log import METRICS_FILE, VAL_ERROR, read_metrics

WINNER_FILE = "winner.json"  # in the folder of a sweep: the runs of its best setting, and their test errors


@dataclass(frozen=True)
class RunState:
    """What the metrics of a run say.

    Attributes:
        lines: of metrics.jsonl; none if the run has not begun.
    """

    lines: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return self.lines[-1]["step"] if self.lines else 0

    @property
    def end(self) -> str:
        """How it ended, one of `goodput.ENDS`; empty if it is under way, was killed or failed otherwise."""
        return next((mark for mark in ENDS if self.lines and mark in self.lines[-1]), "")

    @property
    def failed_check(self) -> bool:
        """Whether it ended because a check of its loss failed: it would again."""
        return self.end in FAILED_CHECKS

    def reached(self, num_steps: int) -> bool:
        """Whether it has done this many steps, and is not about to do more of them."""
        return self.end == FINISHED and self.step >= num_steps

    def lengths(self) -> set[int | None]:
        """The num_steps of its starts, as far as its steps come from them; None is that of a start that did not say."""
        return {line.get(NUM_STEPS) for line in self.lines if START in line}

    def error(self, *, at: int | None = None) -> float | None:
        """The last validation error in percent, or that of step `at`; None if there is none."""
        errors = [line[VAL_ERROR] for line in self.lines if VAL_ERROR in line and at in (None, line["step"])]
        return errors[-1] if errors else None

    def best(self) -> tuple[float, int] | None:
        """The lowest validation error in percent, and its step."""
        errors = [(line[VAL_ERROR], line["step"]) for line in self.lines if line.get(VAL_ERROR) is not None]
        return min(errors, default=None)

    def last(self, key: str) -> float | None:
        """The last value of a metric."""
        return next((line[key] for line in reversed(self.lines) if line.get(key) is not None), None)


def read_state(folder: Path) -> RunState:
    """How far the run in a folder is.

    Raises:
        InputError: its metrics.jsonl is damaged.
    """
    try:
        lines = read_metrics(folder / METRICS_FILE)
    except InputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):  # the file may be there by now
            raise
        lines = []
    return RunState(lines)


def read_test_errors(workdir: Path) -> Mapping[str, float]:
    """The test errors of the winner of the sweep in `workdir`, in percent, by the names of its runs.

    Raises:
        InputError: the file of the winner is damaged.
    """
    file = workdir / WINNER_FILE
    return read_json(file).get("test_errors", {}) if file.exists() else {}


@dataclass(frozen=True)
class MeasuredRun:
    """A run folder, or the folder of an ensemble, as a source of numbers. All are read from its files.

    Attributes:
        path: the folder.
        num_steps: of a run, how many steps it was to do; 0: an ensemble.
    """

    path: Path
    num_steps: int = 0

    @cached_property
    def state(self) -> RunState:
        """How far it is; of an ensemble nothing."""
        return read_state(self.path)

    @property
    def is_complete(self) -> bool:
        """Whether a run has done all its steps, or an ensemble was evaluated."""
        return self.state.reached(self.num_steps) if self.num_steps else (self.path / REPORT_FILE).exists()

    def measured(self, name: str) -> dict[str, Any] | None:
        """The JSON that a measurement wrote; None if there is none.

        Raises:
            InputError: the file is damaged.
        """
        file = measurement_report(name, self.path) if self.num_steps else self.path / REPORT_FILE
        return read_json(file) if file.exists() else None
