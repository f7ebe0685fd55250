"""launch/local.sh: it ends all its processes when one dies, and stops them together."""

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import documents, processes, slurm

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "local.sh"


@pytest.mark.parametrize("count", ["", "0", "257", "-1", "two", "08", "1.5"])
def test_a_bad_number_of_processes_is_one_line(count):
    result = subprocess.run([SCRIPT, *([count] if count else [])], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {count or 'no N'}: the number of processes (allowed: ")
    assert result.stderr.count("\n") == 1


def test_help_is_the_usage():
    result = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "launch/local.sh N --config=NAME --workdir=DIR" in result.stdout


def test_bad_input_ends_with_2():
    result = launched("2", "--config=no_such_recipe", "--workdir=runs/none")
    assert result.returncode == 2
    for start in ("error: ", "[1] error: "):
        assert any(line.startswith(start) and "no_such_recipe" in line for line in result.stderr.splitlines())


def launched(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=processes.SECONDS)


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[int, int]]]:
    """The launcher once it has taken steps, and the ids of its processes by their numbers; all end with the block."""
    workdir = folder / next(word.partition("=")[2] for word in command if word.startswith("--workdir="))
    metrics = workdir / "metrics.jsonl"
    lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
    launcher = subprocess.Popen(
        command,
        cwd=folder,
        env=processes.environment(folder / "cache"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with launcher:
        try:
            written = processes.lines_written(workdir, lines + 2)  # a resumed run first removes one of a stopped run
            slurm.wait_until(lambda: written() or launcher.poll() is not None, lambda: "steps", processes.SECONDS)
            assert launcher.poll() is None, launcher.communicate()
            yield launcher, children(launcher.pid)
        finally:
            launcher.send_signal(signal.SIGTERM)  # twice: at once
            launcher.send_signal(signal.SIGTERM)


def children(pid: int) -> dict[int, int]:
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        found |= {int(word.partition("=")[2]): int(child) for word in words if word.startswith("--process_id=")}
    return found


@pytest.mark.slow
def test_the_command_of_the_readme_stops_together_and_ends_together(tmp_path):
    (line,) = [line for line in documents.commands(documents.read("README.md")) if line.startswith("launch/local.sh")]
    for name, target in (("launch", ROOT / "launch"), ("configs", ROOT / "configs")):
        (tmp_path / name).symlink_to(target)
    short = ["--config.num_steps=100000", "--config.batch_size=8", "--config.log.every_steps=1"]
    command = [*shlex.split(line), *short]
    workdir = tmp_path / "runs" / "local"

    with running(command, tmp_path) as (launcher, ids):
        assert sorted(ids) == [0, 1]
        launcher.send_signal(signal.SIGTERM)
        output, _ = launcher.communicate(timeout=processes.SECONDS)
    assert launcher.returncode == 75, output
    (saved,) = processes.steps_saved(workdir)
    assert saved > 0
    assert f"step {saved}" in output

    with running(command, tmp_path) as (launcher, ids):  # resumed
        os.kill(ids[1], signal.SIGKILL)
        output, _ = launcher.communicate(timeout=processes.SECONDS)
    assert launcher.returncode == 128 + signal.SIGKILL, output
    assert f"launch/local.sh: process 1 failed with exit code {launcher.returncode}" in output
    assert not Path(f"/proc/{ids[0]}").exists()
    assert f"resumed at step {saved}" in output
