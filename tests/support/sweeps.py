"""Sweeps of tiny runs, and the command that runs them."""

import os
import subprocess
import sys
from pathlib import Path

from configs import default
from resnet_alexnet.workdir.config import flatten
from tests.support import processes, tiny

DOOR = str(processes.CHECKOUT / "launch" / "sweep.py")
SECONDS = 300  # that a sweep may take on a busy machine
# Where a run is in its 40 steps hardly depends on the machine: its learning rate does not depend on num_steps.
FAST = {"eval.every_steps": 10, "checkpoint.every_steps": 10, "schedule.name": "constant"}


def write_sweep(path: Path, body: str, **common: object) -> Path:
    """A sweep file over the tiny recipe; `body` is that of sweep(), and fields of groups are written group__field."""
    known = flatten(default.get_config().to_dict())
    tiny_fields = {name: value for name, value in flatten(tiny.config().to_dict()).items() if value != known[name]}
    fields = {**tiny_fields, **FAST, **{name.replace("__", "."): value for name, value in common.items()}}
    path.write_text(f'BASE = "default"\nCOMMON = {fields!r}\n\n\ndef sweep():\n    {body}\n')
    return path


def start(*words: object, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """Starts the command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, DOOR, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(processes.CHECKOUT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*words: object, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
    """Runs the command to its end: (exit code, what it printed)."""
    with start(*words, cwd=cwd, **environment) as process:
        try:
            output, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    return process.returncode, output
