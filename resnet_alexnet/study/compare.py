"""Run folders side by side: what a run has come to, how runs differ, and whether they computed the same numbers."""

import contextlib
import json
import math
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json
from resnet_alexnet.study.state import RunState, read_state
from resnet_alexnet.workdir.config import CONFIG_FILE, flatten, read_config
from resnet_alexnet.workdir.folder import BEFORE_A_RUN, ENVIRONMENT_FILE
from resnet_alexnet.workdir.goodput import FINISHED, Goodput, computed, read_goodput
from resnet_alexnet.workdir.lock import NAMES, find_holder
from resnet_alexnet.workdir.metrics_log import TEST_ERROR, VAL_ERROR

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A run folder as it is now.

    Attributes:
        name: how the run is called here, different from all others.
        state: "finished"; "running"; "stopped", after saving; "diverged" or "stuck", by a check of its loss;
            "unfinished", because it was killed or failed; "empty", without metrics; "broken", with a file that cannot
            be read; or "no run", some other folder.
        note: more about the state; may be empty.
        config: the fields of the config by name, such as "optim.learning_rate".
        environment: versions, devices and commit, by name, such as "versions.jax".
        lines: the lines of metrics.jsonl; of a broken run what can be read.
    """

    name: str
    state: str
    note: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[Line] = ()

    @property
    def steps(self) -> int:
        """Steps of the last line."""
        return max((line["step"] for line in self.lines), default=0)

    @property
    def computed(self) -> list[dict[str, Any]]:
        """The lines without what differs between runs of one computation; none before the first metrics."""
        return computed(self.lines)

    def numbers(self, key: str) -> list[float]:
        """The values of a field of the lines, in order; NaN where the run could not write a number."""
        return [_number(line[key]) for line in self.lines if key in line]

    def summary(self) -> dict[str, float | int | str | None]:
        """What the run has come to, by name; None for what it has not measured, NaN for what was not a number."""
        errors = [(_number(line[VAL_ERROR]), line["step"]) for line in self.lines if VAL_ERROR in line]
        best = min((pair for pair in errors if not math.isnan(pair[0])), default=(None, None))
        rates = [rate for rate in self.numbers("images_per_second") if rate > 0]
        goodput = self.goodput()
        return {
            "state": self.state,
            "steps": self.steps,
            "num_steps": self.config.get("num_steps"),
            "train_error": _last(self.numbers("train/top1_error")),
            "val_error": errors[-1][0] if errors else None,
            "best_val_error": best[0],
            "best_step": best[1],
            "test_error": _last(self.numbers(TEST_ERROR)),
            "images_per_second": statistics.median(rates) if rates else None,
            "goodput_percent": goodput.percent if goodput else None,
            "seconds": goodput.total if goodput else None,
            "starts": goodput.starts if goodput else None,
        }

    def goodput(self) -> Goodput | None:
        """Where the time of the run went; None if its lines have no times."""
        return read_goodput(self.lines)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _last(values: Sequence[float]) -> float | None:
    return values[-1] if values else None


def read_runs(folders: Sequence[str]) -> list[Run]:
    """Reads run folders; one with a file that cannot be read says so in its state.

    Raises:
        InputError: there is no such folder.
    """
    for folder in folders:
        if not os.path.isdir(folder):
            raise InputError(f"{folder} is not a folder (allowed: run folders, such as runs/quickstart)")
    return [_read_run(Path(folder), name) for folder, name in zip(folders, _names(folders), strict=True)]


def _names(folders: Sequence[str]) -> list[str]:
    """The shortest ends of the paths by which all folders can be told apart; a number where one is given twice."""
    paths = [Path(os.path.abspath(folder)).parts for folder in folders]
    for length in range(1, max(map(len, paths), default=0) + 1):
        names = [os.path.join(*parts[-length:]) for parts in paths]
        if len(set(names)) == len(set(paths)):
            break
    else:
        names = list(folders)
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]


def _read_run(folder: Path, name: str) -> Run:
    holder = find_holder(folder)
    try:
        names = set(os.listdir(folder)) - set(NAMES)
    except OSError as error:
        return Run(name, "broken", f"{folder} cannot be read: {error.strerror}")
    if CONFIG_FILE not in names and holder is None:
        if names <= set(BEFORE_A_RUN):
            return Run(name, "empty", "no run has begun in it" if names else "an empty folder")
        return Run(name, "no run", f"no {CONFIG_FILE}")
    config, environment, state = {}, {}, RunState()
    errors: list[str] = []
    with _noting(errors):
        state = read_state(folder)
    with _noting(errors):
        config = flatten(read_config(folder / CONFIG_FILE)) if CONFIG_FILE in names else {}
    with _noting(errors):
        environment = _environment(read_json(folder / ENVIRONMENT_FILE)) if ENVIRONMENT_FILE in names else {}
    if errors:
        word, note = "broken", "; ".join(errors)
    elif holder is not None:
        word, note = "running", f"in {holder}"
    else:
        word, note = _describe(state, config.get("num_steps"))
    return Run(name, word, note, config, environment, state.lines)


@contextlib.contextmanager
def _noting(errors: list[str]) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        errors.append(str(error))


def _environment(values: dict[str, Any]) -> dict[str, Any]:
    """The environment by name; devices are counted, and of those that a run was resumed on, only the number is kept."""
    devices, later = values.pop("devices", None), values.pop("resumed_on", None)
    flat = flatten(values)
    if isinstance(devices, list) and devices:
        kinds = sorted({str(device) for device in devices})
        flat["devices"] = ", ".join(f"{list(map(str, devices)).count(kind)} x {kind}" for kind in kinds)
    if isinstance(later, list):
        flat["resumed_on"] = f"{len(later)} other environment{'s' if len(later) > 1 else ''}"
    return flat


def _describe(state: RunState, num_steps: int | None) -> tuple[str, str]:
    """A word for a run that no process is doing, and a note."""
    if not computed(state.lines):
        return "empty", "no metrics yet"
    if state.end == FINISHED and state.step != num_steps:
        return "unfinished", f"it was extended to {num_steps} steps"
    if state.failed_check:
        return state.end, f"at step {state.step}"
    return (state.end, "") if state.end else ("unfinished", "it was killed, or it failed")


def differing(values: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, Any]]:
    """The fields in which mappings differ: by name, the value in each mapping by its index.

    A field that a mapping lacks has the value None; an empty mapping is left out.
    """
    told = {index: fields for index, fields in enumerate(values) if fields}
    names = dict.fromkeys(name for fields in told.values() for name in fields)
    found = {name: {index: fields.get(name) for index, fields in told.items()} for name in names}
    return {name: each for name, each in found.items() if len(set(map(json.dumps, each.values()))) > 1}


def first_difference(one: Run, other: Run) -> str | None:
    """Says how the lines of two runs first differ, times and throughput aside; None if they are equal.

    Equal means equal to the last bit. NaN equals NaN.
    """
    ours, theirs = one.computed, other.computed
    for number, (line, other_line) in enumerate(zip(ours, theirs, strict=False), start=1):
        keys = [key for key in {**line, **other_line} if line.get(key, "-") != other_line.get(key, "-")]
        if keys:
            values = "; ".join(f"{key} is {_shown(line, key)} and {_shown(other_line, key)}" for key in keys)
            return f"line {number} (step {line['step']}) differs: {values}"
    if len(ours) == len(theirs):
        return None
    longer, lines = (one, ours) if len(ours) > len(theirs) else (other, theirs)
    last = min(len(ours), len(theirs))
    return (
        f"the first {last} lines are equal, but only {longer.name} has a line {last + 1} (step {lines[last]['step']})"
    )


def _shown(line: Line, key: str) -> str:
    if key not in line:
        return "missing"
    return "nan" if line[key] is None else json.dumps(line[key])
