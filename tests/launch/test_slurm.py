"""launch/slurm.sbatch on a real Slurm of two nodes: runs end, are stopped and queued again, are preempted, fail."""

import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import documents, processes, slurm, tiny

pytestmark = [slurm.needs_slurm, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
# Stands for the interpreter: exits with code $1, or with 75 after SIGTERM.
STANDS_FOR_PYTHON = """#!/bin/bash
trap 'exit 75' TERM
[[ ${!#} == wait ]] || exit "${!#}"
echo waits
sleep 60 & wait
"""


@pytest.fixture(scope="module")
def cluster():
    with slurm.started_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def resumable():
    """A run of two processes that goes on for seconds after its first line: JAX looks for a signal once a second."""
    return processes.resumable(num_steps=400, checkpoint__every_steps=100, eval__every_steps=100, model__bn_group=4)


def submit(cluster: slurm.Cluster, workdir: Path, cache: Path, *options: str) -> str:
    """Submits the run; its job."""
    arguments = [*processes.words(resumable()), f"--workdir={workdir}", *options]
    variables = {**processes.environment(cache), "PYTHON": os.fspath(Path(os.sys.executable))}
    log = f"--output={workdir}-%j.log"
    return cluster.submit(log, "launch/slurm.sbatch", *arguments, cwd=ROOT, **variables)


def wait_for_steps(cluster: slurm.Cluster, job: str, workdir: Path) -> None:
    """Waits until a run under way has written two more lines: a resumed run first removes one of a stopped run."""
    metrics = workdir / "metrics.jsonl"
    lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
    written = processes.lines_written(workdir, lines + 2)

    def holds() -> bool:
        assert cluster.show(job)["JobState"] in ("PENDING", "CONFIGURING", "RUNNING"), log_of(workdir, job)
        return written()

    slurm.wait_until(holds, f"steps of {job}", processes.SECONDS)


def log_of(workdir: Path, job: str) -> str:
    return Path(f"{workdir}-{job}.log").read_text(encoding="utf-8")
