"""What a run writes down: metrics.jsonl, one JSON object a line, and the TensorBoard events derived from it."""

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
    """Writes a run's metrics.jsonl and events/; a context manager.

    Opening cuts the record back to `start_step` and makes the events anew from the lines that stay, so after a
    resume neither holds a step twice.
    """

    def __init__(self, workdir: Path, *, start_step: int) -> None:
        """Opens the record of a run.

        Args:
            workdir: the run folder; made if it is missing.
            start_step: the step the run starts from, 0 for a fresh run.

        Raises:
            InputError: metrics.jsonl holds a line that is not a record.
        """
        workdir.mkdir(parents=True, exist_ok=True)
        lines = cut_back(workdir, start_step)
        self._file = (workdir / METRICS_FILE).open("a", encoding="utf-8")
        self._events = _create_event_writer(workdir / EVENTS_FOLDER, lines)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends one line; it is on disk when this returns.

        Strict JSON has no NaN and no infinity: such a value is written as null and left out of TensorBoard.

        Args:
            step: number of updates done.
            values: metrics by key, such as "train/loss"; errors in percent.
        """
        finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
        line = {"step": step, **finite}
        self._append(line)
        _add_scalars(self._events, line)

    def finish(self, step: int) -> None:
        """Marks the run as finished: the last line of its record."""
        self._append({"step": step, "finished": True})

    def close(self) -> None:
        """Closes both files; may be called twice."""
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
            # A checkpoint of this step may follow: its lines must not be lost to a crash that spares the checkpoint.
            os.fsync(self._file.fileno())
        except OSError as error:
            raise TrainingError(
                f"{self._file.name} cannot be written ({error.strerror}): make room there, and run the same command "
                "again; it goes on from the last checkpoint"
            ) from None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of a metrics.jsonl, in order; null values are None.

    A last line that a killed process left half written (it lacks its line break) is dropped.

    Raises:
        InputError: the file is missing, or a line is not a JSON object with an integer step.
    """
    try:
        # "replace": a torn or corrupt line must reach the check below, which names it, and not fail in decoding.
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        reason = f"no metrics at {path} ({error.strerror})"
        raise InputError(f"{reason}: is it the {METRICS_FILE} of a run folder?") from error
    *whole, torn = text.split("\n")
    lines = [_decode(line, path, number) for number, line in enumerate(whole, start=1)]
    if torn:
        with contextlib.suppress(InputError):  # A line that lacks nothing but its line break is kept.
            lines.append(_decode(torn, path, len(whole) + 1))
    return lines


def cut_back(workdir: Path, step: int) -> list[dict[str, Any]]:
    """Drops what a run recorded after `step`, in one atomic replacement of metrics.jsonl.

    Lines with a step up to and including `step` stay. A torn last line and the "finished" marker go: the run
    goes on. At step 0 every line goes, since a fresh run writes its own line of step 0.

    Args:
        workdir: the run folder; nothing happens where it has no record.
        step: number of updates done at the checkpoint that the run resumes from.

    Returns:
        The lines that stay.

    Raises:
        InputError: metrics.jsonl holds a line that is not a record, or cannot be written.
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
    """Parses one line strictly: NaN and Infinity, which Python's json lets through, are refused."""
    try:
        line = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise InputError(f"{path}, line {number} is not JSON: {text[:80]!r} ({error})") from error
    if not isinstance(line, dict) or type(line.get("step")) is not int:
        raise InputError(f"{path}, line {number} is {text[:80]!r} (allowed: a JSON object with an integer step)")
    return line


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _create_event_writer(folder: Path, lines: Iterable[Mapping[str, Any]]):
    """Replaces the event files in `folder` by one that holds `lines`, open for more.

    TensorBoard adds up all event files of a folder, so an old file beside the new would show a scalar twice.
    Returns a tensorboardX SummaryWriter.
    """
    # Imported here because the import writes an environment variable and, where torch is installed, loads it.
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
