"""The metrics of a run: metrics.jsonl, one JSON object per line, and the TensorBoard events derived from it."""

import contextlib
import json
import math
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from resnet_alexnet.errors import InputError, TrainingError, remedy
from resnet_alexnet.files import atomic_write, refuse_constant
from resnet_alexnet.workdir.events import Events
from resnet_alexnet.workdir.goodput import ENDS, FINISHED, start_line

METRICS_FILE = "metrics.jsonl"
EVENTS_FOLDER = "events"
VAL_ERROR, TEST_ERROR = "val/top1_error", "test/top1_error"
_TOUCH_SECONDS = 1.0


class MetricsLog:
    """Writes metrics.jsonl and events/ of a run; a context manager.

    Opening drops the lines after `start_step` and rewrites the events from the remaining lines, so after resuming
    neither has a step twice.

    Attributes:
        lines: all lines so far.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        start_step: int,
        config: Mapping[str, Any] | None = None,
        began: float | None = None,
        writes: bool = True,
    ) -> None:
        """Opens the metrics of a run.

        Args:
            workdir: the run folder; created if it does not exist.
            start_step: the step that the run resumes from, 0 for a new run.
            config: the config as JSON values, for TensorBoard.
            began: the time (Unix seconds) at which this process began; writes the line of a start, see `goodput`. While
                the log is open, metrics.jsonl then is touched every second: its time of modification is the last at
                which the run is known to have been running, should it be killed.
            writes: whether this process writes the files; another one does if not.

        Raises:
            InputError: metrics.jsonl has an invalid line.
        """
        self._file = self._events = self._toucher = None
        self._closed = threading.Event()
        if not writes:
            self.lines = _kept(_read(workdir), start_step)
            return
        workdir.mkdir(parents=True, exist_ok=True)
        self.lines = cut_back(workdir, start_step, began=began, num_steps=(config or {}).get("num_steps"))
        self._file = (workdir / METRICS_FILE).open("a", encoding="utf-8")
        if began is not None:
            self._toucher = threading.Thread(target=self._touch, args=(self._file,), name="metrics", daemon=True)
            self._toucher.start()
        self._events = Events(workdir / EVENTS_FOLDER, self.lines, config or {})

    def write(self, step: int, values: Mapping[str, float], *, end: str = "") -> None:
        """Appends one line, which is on disk when this returns.

        JSON has no NaN and no infinity: such values are written as null and left out of TensorBoard.

        Args:
            step: optimizer steps done.
            values: metrics by key, such as "train/loss"; errors in percent.
            end: one of `goodput.ENDS` marks the line as the last of a run that ends here before all steps are done; it
                is dropped when the run resumes.
        """
        finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
        line = {"step": step, **finite, **({end: True} if end else {})}
        self._append(line)
        if self._events is not None:
            self._events.add(line)

    def finish(self, step: int) -> None:
        """Marks the run as finished, in the last line of its metrics."""
        self._append({"step": step, FINISHED: True})

    def close(self) -> None:
        """Closes both files; may be called more than once."""
        self._closed.set()
        if self._toucher is not None:
            self._toucher.join()
        if self._file is not None:
            with contextlib.suppress(OSError):  # of a line that could not be written, which `write` has said
                self._file.close()
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _touch(self, file: IO[str]) -> None:
        while not self._closed.wait(_TOUCH_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(file.fileno())

    def _append(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        if self._file is None:
            return
        try:
            self._file.write(_encode(line))
            self._file.flush()
            # A checkpoint of this step may follow: a crash must not lose these lines and keep the checkpoint.
            os.fsync(self._file.fileno())
        except OSError as error:
            raise TrainingError(f"{self._file.name} cannot be written ({error.strerror}): {remedy(error)}") from None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of a metrics.jsonl, in order; null values are None.

    An incomplete last line, which a killed process left without a line break, is dropped.

    Raises:
        InputError: the file is missing, or a line is not a JSON object with an integer step.
    """
    try:
        # "replace": an incomplete or corrupt line must not fail here but in the check below, which reports its number.
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        reason = f"no metrics at {path} ({error.strerror})"
        raise InputError(f"{reason}: is it the {METRICS_FILE} of a run folder?") from error
    *whole, torn = text.split("\n")
    lines = [_decode(line, path, number) for number, line in enumerate(whole, start=1)]
    if torn:
        with contextlib.suppress(InputError):  # a complete line without a line break is kept
            lines.append(_decode(torn, path, len(whole) + 1))
    return lines


def validation_errors(workdir: Path) -> dict[int, float]:
    """The validation errors of a run by step, in percent; empty if it has no metrics.jsonl.

    Raises:
        InputError: metrics.jsonl has an invalid line.
    """
    return {line["step"]: line[VAL_ERROR] for line in _read(workdir) if line.get(VAL_ERROR) is not None}


def cut_back(
    workdir: Path, step: int, *, began: float | None = None, num_steps: int | None = None
) -> list[dict[str, Any]]:
    """Drops the lines after `step` from metrics.jsonl, atomically.

    Lines up to and including `step` are kept. An incomplete last line and the line that marks the end of the run are
    dropped, because the run resumes. At step 0 all lines are dropped, because a new run writes its own line of step 0.

    Args:
        workdir: the run folder; if it has no metrics.jsonl, and `began` is None, nothing happens.
        step: the step of the checkpoint that the run resumes from.
        began: the time at which this process began; adds the line of its start, with the seconds of the dropped lines.
        num_steps: how many steps the run is to do, for that line.

    Returns:
        The lines that are there now.

    Raises:
        InputError: metrics.jsonl has an invalid line, or cannot be written.
    """
    path = workdir / METRICS_FILE
    if not path.exists() and began is None:
        return []
    lines, alive = (read_metrics(path), path.stat().st_mtime) if path.exists() else ([], 0.0)
    kept = _kept(lines, step)
    if began is not None:
        dropped = [line for line in lines if not _is_kept(line, step)]
        kept.append(dict(start_line(step, lines, dropped, began=began, alive=alive, num_steps=num_steps)))
    with atomic_write(path) as temporary:
        temporary.write_text("".join(map(_encode, kept)), encoding="utf-8")
    return kept


def _read(workdir: Path) -> list[dict[str, Any]]:
    path = workdir / METRICS_FILE
    return read_metrics(path) if path.exists() else []


def _kept(lines: Sequence[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """The lines that a run which resumes from `step` keeps."""
    return [line for line in lines if _is_kept(line, step)]


def _is_kept(line: Mapping[str, Any], step: int) -> bool:
    return 0 < step >= line["step"] and not any(mark in line for mark in ENDS)


def _encode(line: Mapping[str, Any]) -> str:
    return json.dumps(line, allow_nan=False) + "\n"


def _decode(text: str, path: Path, number: int) -> dict[str, Any]:
    """Parses one line strictly."""
    try:
        line = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, line {number} is not JSON: {text[:80]!r} ({error})") from error
    if not isinstance(line, dict) or type(line.get("step")) is not int:
        raise InputError(f"{path}, line {number} is {text[:80]!r} (allowed: a JSON object with an integer step)")
    return line
