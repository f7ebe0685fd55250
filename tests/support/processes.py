"""The tiny run in processes of their own, to be killed, stopped and started again."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import default
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.workdir.checkpoint import Checkpointer, to_leaves
from resnet_alexnet.workdir.config import flatten
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import tiny
from tests.support.trees import assert_same_leaves

CHECKOUT = Path(__file__).parents[2]
MAIN = ("-m", "resnet_alexnet.main")
SPEEDS = re.compile("images_per_second|step_images_per_second|input_wait_percent|time|seconds/.*")
SECONDS = 120  # that any one process may take on a busy machine
# Runs a module as a command, and fails if it imported what takes long.
WITHOUT_HEAVY_IMPORTS = """
import runpy, sys
name = sys.argv.pop(1)
try:
    runpy.run_module(name, run_name="__main__", alter_sys=True)
finally:
    heavy = {"jax", "flax", "numpy", "rich", "ml_collections", "tensorflow_datasets", "grain"} & sys.modules.keys()
    assert not heavy, heavy
"""


def resumable(**fields: Any) -> ConfigDict:
    """A run whose learning rate hangs on the training and the validation error, so that a resume must restore both."""
    fields = {
        "schedule__name": "plateau",
        "schedule__patience": 1,
        "schedule__factor": 0.5,
        "schedule__warmup_until_error": 85.0,
        "schedule__warmup_until_error_window": 5,
        "log__every_steps": 4,  # with sums under way when a checkpoint is saved
        "eval__every_steps": 5,
        "checkpoint__every_steps": 6,
        **fields,
    }
    return tiny.config(**fields)


def words(config: ConfigDict) -> list[str]:
    """The command line that asks for `config`, on top of the defaults."""
    known = flatten(default.get_config().to_dict())
    changed = {name: value for name, value in flatten(config.to_dict()).items() if value != known[name]}
    return ["--config=configs/default.py", *(f"--config.{name}={value}" for name, value in changed.items())]


def environment(cache: Path, devices: int = 1) -> dict[str, str]:
    """Of a process on fake devices that keeps what it compiles in `cache`."""
    return {
        **os.environ,
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONUNBUFFERED": "1",
    }


@contextlib.contextmanager
def started(arguments: list[str], cache: Path) -> Iterator[subprocess.Popen]:
    """A process that has begun; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=CHECKOUT,
        env=environment(cache),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(
    holds: Callable[[], bool], what: Callable[[], str], seconds: float = SECONDS, *, every: float = 0.001
) -> None:
    """Waits until something holds, which is asked every so many seconds; fails with what `what` says if it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what()}"
        time.sleep(every)


def wait_for(process: subprocess.Popen, until: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Waits until something holds, while a process runs; if that ends, fails with what it wrote."""

    def holds() -> bool:
        assert process.poll() is None, f"ended before what was waited for: {process.communicate()}"
        return until()

    wait_until(holds, lambda: f"process {process.pid}", seconds)


def run(arguments: list[str], cache: Path, *, until: Callable[[], bool] | None = None, number: int = signal.SIGKILL):
    """Runs a process to its end, sending it signal `number` once `until` holds; returns (exit code, stdout, stderr)."""
    with started(arguments, cache) as process:
        if until is not None:
            wait_for(process, until)
            process.send_signal(number)
        output, errors = process.communicate(timeout=SECONDS)
        return process.returncode, output, errors


def lines_written(workdir: Path, count: int) -> Callable[[], bool]:
    """Asks whether metrics.jsonl has `count` lines; those of starts do not count."""
    return lambda: count_lines(workdir) >= count


def count_lines(workdir: Path) -> int:
    """The whole lines in metrics.jsonl, but for those of starts."""
    path = workdir / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return sum(line.endswith(b"\n") and b'"start"' not in line for line in lines)


def saving_began(workdir: Path, step: int) -> Callable[[], bool]:
    """Asks whether a checkpoint of `step` or later is being written this moment."""

    def ask() -> bool:
        written = (workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*")
        return any(int(path.name.partition(".")[0]) >= step for path in written)

    return ask


def steps_saved(workdir: Path) -> list[int]:
    """The steps whose checkpoints are in a run folder; every name there must be one."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def saved_leaves(workdir: Path, config: ConfigDict) -> dict[str, np.ndarray]:
    """The newest checkpoint's arrays by name."""
    create = create_experiment(config, jax.devices()[:1]).steps.create_state
    with Checkpointer(workdir / "checkpoints", keep=9) as checkpointer:
        restored = checkpointer.restore(lambda: jax.eval_shape(create))
    assert restored is not None
    assert not restored.warnings
    return to_leaves(restored.state)


def log_lines(workdir: Path) -> list[dict[str, Any]]:
    """The metrics lines without what no two runs have in common: starts, times and throughput."""
    return [
        {name: value for name, value in line.items() if not SPEEDS.fullmatch(name)}
        for line in read_metrics(workdir / "metrics.jsonl")
        if "start" not in line
    ]


def assert_same_run(workdir: Path, other: Path, config: ConfigDict) -> None:
    """Two finished runs ended with the same bits, recorded the same lines and left checkpoints of the same steps."""
    assert steps_saved(workdir) == steps_saved(other)
    assert_same_end(workdir, other, config)


def assert_same_end(workdir: Path, other: Path, config: ConfigDict) -> None:
    """Two finished runs ended with the same bits and recorded the same lines."""
    assert log_lines(workdir) == log_lines(other)
    ours, theirs = saved_leaves(workdir, config), saved_leaves(other, config)
    assert any(name.startswith("opt_state/") for name in ours)
    assert any(name.startswith("batch_stats/") for name in ours)
    assert_same_leaves(ours, theirs)
