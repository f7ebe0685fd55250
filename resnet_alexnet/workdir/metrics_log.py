"""The metrics of a run: metrics.jsonl, one JSON object per line, and the TensorBoard events derived from it."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.files import atomic_write

METRICS_FILE = "metrics.jsonl"
EVENTS_FOLDER = "events"


class MetricsLog:
    """Writes metrics.jsonl and events/ of a run; a context manager.

    Opening drops the lines after `start_step` and rewrites the events from the remaining lines, so after resuming
    neither has a step twice.
    """

    def __init__(self, workdir: Path, *, start_step: int) -> None:
        """Opens the metrics of a run.

        Args:
            workdir: the run folder; created if it does not exist.
            start_step: the step that the run resumes from, 0 for a new run.

        Raises:
            InputError: metrics.jsonl has an invalid line.
        """
        workdir.mkdir(parents=True, exist_ok=True)
        lines = cut_back(workdir, start_step)
        self._file = (workdir / METRICS_FILE).open("a", encoding="utf-8")
        self._events = _create_event_writer(workdir / EVENTS_FOLDER, lines)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends one line, which is on disk when this returns.

        JSON has no NaN and no infinity: such values are written as null and left out of TensorBoard.

        Args:
            step: optimizer steps done.
            values: metrics by key, such as "train/loss"; errors in percent.
        """
        finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
        line = {"step": step, **finite}
        self._append(line)
        _add_scalars(self._events, line)

    def finish(self, step: int) -> None:
        """Marks the run as finished, in the last line of its metrics."""
        self._append({"step": step, "finished": True})

    def close(self) -> None:
        """Closes both files; may be called more than once."""
        self._file.close()
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            self._file.write(_encode(line))
            self._file.flush()
            # A checkpoint of this step may follow: a crash must not lose these lines and keep the checkpoint.
            os.fsync(self._file.fileno())
        except OSError as error:
            raise TrainingError(
                f"{self._file.name} cannot be written ({error.strerror}): free some space there and run the same "
                "command again; it resumes from the last checkpoint"
            ) from None


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


def cut_back(workdir: Path, step: int) -> list[dict[str, Any]]:
    """Drops the lines after `step` from metrics.jsonl, atomically.

    Lines up to and including `step` are kept. An incomplete last line and the "finished" marker are dropped, because
    the run resumes. At step 0 all lines are dropped, because a new run writes its own line of step 0.

    Args:
        workdir: the run folder; if it has no metrics.jsonl, nothing happens.
        step: the step of the checkpoint that the run resumes from.

    Returns:
        The lines that are kept.

    Raises:
        InputError: metrics.jsonl has an invalid line, or cannot be written.
    """
    path = workdir / METRICS_FILE
    if not path.exists():
        return []
    kept = [line for line in read_metrics(path) if step > 0 and line["step"] <= step and "finished" not in line]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(map(_encode, kept)), encoding="utf-8")
    return kept


def _encode(line: Mapping[str, Any]) -> str:
    return json.dumps(line, allow_nan=False) + "\n"


def _decode(text: str, path: Path, number: int) -> dict[str, Any]:
    """Parses one line strictly: NaN and Infinity, which Python's json accepts, are refused."""
    try:
        line = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise InputError(f"{path}, line {number} is not JSON: {text[:80]!r} ({error})") from error
    if not isinstance(line, dict) or type(line.get("step")) is not int:
        raise InputError(f"{path}, line {number} is {text[:80]!r} (allowed: a JSON object with an integer step)")
    return line


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _create_event_writer(folder: Path, lines: Iterable[Mapping[str, Any]]):
    """Replaces the event files in `folder` by one with `lines`; returns its tensorboardX SummaryWriter, open for more.

    TensorBoard merges all event files of a folder, so an old file next to the new one would show each scalar twice.
    """
    # Imported here because the import writes an environment variable and loads torch if it is installed.
    from tensorboardX import SummaryWriter

    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    writer = SummaryWriter(str(folder), flush_secs=10)
    for line in lines:
        _add_scalars(writer, line)
    return writer


def _add_scalars(writer, line: Mapping[str, Any]) -> None:
    for key, value in line.items():
        if key != "step" and value is not None:
            writer.add_scalar(key, value, line["step"])
