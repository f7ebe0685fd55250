"""Sweeps of tiny runs, and the command that runs them."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from configs import default
from resnet_alexnet.cli.command import exit_code
from resnet_alexnet.sweep import main
from resnet_alexnet.workdir.config import flatten
from tests.support import processes, tiny

DOOR = str(processes.CHECKOUT / "launch" / "sweep.py")
SECONDS = 300  # that a sweep may take on a busy machine
# Where a run is in its 40 steps hardly depends on the machine: its learning rate does not depend on num_steps.
FAST = {"eval.every_steps": 10, "checkpoint.every_steps": 10, "schedule.name": "constant"}
# The tiny recipe's data. A run waits in its evaluations as long as data_dir has a file of the name of its folder.
HELD = """
import os
import sys
import time

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.readers import synthetic

HOLD = ""


class Held(ArraySource):
    def gather(self, indices, draw=None):
        while os.path.exists(HOLD):
            time.sleep(0.02)
        return super().gather(indices, draw)


def read(data_dir):
    global HOLD
    (workdir,) = (word.partition("=")[2] for word in sys.argv if word.startswith("--workdir="))
    HOLD = os.path.join(data_dir, os.path.basename(workdir))
    splits = synthetic.make_sources(
        validation_fraction=0.1, image_size=8, channels=1, num_classes=10, num_examples=200
    )
    return {**splits, "validation": Held(**vars(splits["validation"]))}
"""


class Hold:
    """Data of which each run can be held in its evaluations, so that it cannot end before a test wants it to.

    Attributes:
        fields: those of the runs that read the data, for `write_sweep`.
    """

    def __init__(self, folder: Path, *names: str) -> None:
        """Writes the data into a new folder, and holds the runs of these names."""
        folder.mkdir()
        (folder / "held.py").write_text(HELD)
        self.fields = {"dataset__name": f"{folder / 'held.py'}:read", "dataset__data_dir": str(folder)}
        self._files = [folder / name for name in names]
        for file in self._files:
            file.touch()

    def release(self) -> None:
        """Lets all runs go on."""
        for file in self._files:
            file.unlink()


def write_sweep(path: Path, body: str, **common: object) -> Path:
    """A sweep file over the tiny recipe; `body` is that of sweep(), and fields of groups are written group__field."""
    known = flatten(default.get_config().to_dict())
    tiny_fields = {name: value for name, value in flatten(tiny.config().to_dict()).items() if value != known[name]}
    fields = {**tiny_fields, **FAST, **{name.replace("__", "."): value for name, value in common.items()}}
    path.write_text(f'BASE = "default"\nCOMMON = {fields!r}\n\n\ndef sweep():\n    {body}\n')
    return path


def one_device() -> dict[str, str]:
    """The variable by which runs have one device, for which their programs are compiled faster."""
    return {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"}


def start(*words: object, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """Starts the command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, DOOR, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(processes.CHECKOUT), **environment, **one_device()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def call(*words: object) -> tuple[int, str]:
    """Runs the command in this process, which takes less time: (exit code, what it printed)."""
    output = io.StringIO()
    with (
        mock.patch.dict(os.environ, one_device()),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        code = exit_code(lambda: main([*map(str, words)]))
    return code, output.getvalue()


def run(*words: object, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
    """Runs the command to its end: (exit code, what it printed)."""
    with start(*words, cwd=cwd, **environment) as process:
        try:
            output, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    return process.returncode, output
