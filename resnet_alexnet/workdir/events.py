"""The TensorBoard events of a run, derived from the lines of metrics.jsonl and the config.

Each split is a TensorBoard run of its own, events/train, events/val and events/test, with the same tags: so training,
validation and test of a quantity are curves of one chart.
"""

import contextlib
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from resnet_alexnet.workdir.config import flatten
from resnet_alexnet.workdir.goodput import ENDS, NUM_STEPS, SECONDS, START, TIME

_SCHEME = "events"  # by which tensorboardX knows to open files with `_Files`
_NOT_DRAWN = ("step", "epoch", *ENDS, TIME, START, NUM_STEPS)  # epochs are steps in another unit

Result = TypeVar("Result")


class Events:
    """Writes the events of a run to a folder. Opening replaces those that are there.

    TensorBoard merges all event files of a folder, so an old file next to the new one would show each scalar twice. A
    file that cannot be written is a warning, after which nothing more is written.
    """

    def __init__(self, folder: Path, lines: Iterable[Mapping[str, Any]], config: Mapping[str, Any]) -> None:
        """Opens the events.

        Args:
            folder: where they are written, with a folder for each split.
            lines: lines of metrics.jsonl, to begin with.
            config: the config as JSON values. It is shown as text, and its fields as hyperparameters.
        """
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._fails = False
        for old in folder.rglob("events.out.tfevents.*"):
            self.attempt(old, old.unlink)
        if config:
            writer = self._writer("")
            writer.add_text("config", textwrap.indent(json.dumps(config, indent=2), " " * 4))  # in Markdown: as it is
            writer.file_writer.add_summary(_hyperparameters(config))
        for line in lines:
            self.add(line)

    def add(self, line: Mapping[str, Any]) -> None:
        """Adds the numbers of a line: "val/loss" as "loss" of "val", those without a split as those of "train"."""
        for key, value in line.items():
            if key not in _NOT_DRAWN and not key.startswith(SECONDS) and value is not None:
                split, _, tag = key.rpartition("/")
                self._writer(split or "train").add_scalar(tag, value, line["step"])

    def close(self) -> None:
        """Closes the files; may be called more than once."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, split: str):
        """The tensorboardX SummaryWriter of a split, opened when it is first asked for; "" is the run as a whole."""
        if split not in self._writers:
            # Imported here because the import writes an environment variable.
            with _without_torch():
                from tensorboardX import SummaryWriter
                from tensorboardX.record_writer import register_writer_factory

            register_writer_factory(_SCHEME, _Files(self.attempt))
            self._writers[split] = SummaryWriter(f"{_SCHEME}:{self._folder / split}", flush_secs=10)
        return self._writers[split]

    def attempt(self, path: Path, write: Callable[[], Result]) -> Result | None:
        """Calls `write`, which may fail with an OSError, unless it has failed before; from any thread."""
        try:
            return None if self._fails else write()
        except OSError as error:
            self._fails = True
            with contextlib.suppress(OSError):  # nobody reads the output any more
                print(
                    f"warning: {path} cannot be written ({error.strerror}): no more is written for TensorBoard",
                    flush=True,
                )
        return None


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """In the block torch cannot be imported: tensorboardX would, and needs it only for torch's tensors and networks."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        del sys.modules["torch"]


class _Files:
    """Opens the files of tensorboardX, whose own would raise in its thread, and then make the run wait forever."""

    def __init__(self, attempt: Callable[[Path, Callable[[], Any]], Any]) -> None:
        self._attempt = attempt

    def directory_check(self, name: str) -> None:
        path = _without_scheme(name)
        self._attempt(path, lambda: path.mkdir(parents=True, exist_ok=True))

    def open(self, name: str) -> "_File":
        return _File(_without_scheme(name), self._attempt)


class _File:
    """An event file; `attempt` deals with what cannot be written."""

    def __init__(self, path: Path, attempt: Callable[[Path, Callable[[], Any]], Any]) -> None:
        self._path, self._attempt = path, attempt
        self._file = attempt(path, lambda: path.open("wb", buffering=0))

    def write(self, data: bytes) -> None:
        if self._file is not None:
            self._attempt(self._path, partial(self._file.write, data))

    def flush(self) -> None:
        if self._file is not None and not self._file.closed:
            self._attempt(self._path, partial(os.fsync, self._file.fileno()))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _without_scheme(name: str) -> Path:
    return Path(name.removeprefix(f"{_SCHEME}:"))


def _hyperparameters(config: Mapping[str, Any]):
    """The summary from which TensorBoard's table of hyperparameters has the fields of a run; unset ones are left out.

    TensorBoard itself finds the metrics, which are the scalars of the splits.
    """
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionStartInfo
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    start = SessionStartInfo(start_time_secs=time.time())
    for name, value in flatten(dict(config)).items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[name].number_value = value
        elif value is not None:
            start.hparams[name].string_value = value if isinstance(value, str) else json.dumps(value)
    content = HParamsPluginData(session_start_info=start, version=0).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    tag = "_hparams_/session_start_info"
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])
