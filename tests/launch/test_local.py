"""launch/local.sh: it ends all its processes when one dies, and stops them together."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import documents, processes, teams

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "local.sh"
# A network that compiles in a second, and steps without end.
SHORT = (
    f"--config.model.name={teams.SMALL_NET}",
    "--config.num_steps=100000",
    "--config.batch_size=8",
    "--config.log.every_steps=1",
)

# Stands for the interpreter: waits for a signal, which it handles even if it was ignored, as a run does.
PROGRAM = f"""#!{sys.executable}
import os, signal, sys
if sys.argv[1] == "-c":
    exec(sys.argv[2])
    sys.exit()
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
os.write(1, b"waiting\\n")  # at once, so that lines of two processes do not mix
while True:
    signal.pause()
"""


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
    command = [SCRIPT, "2", "--config=no_such_recipe", "--workdir=runs/none"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=teams.SECONDS)
    assert result.returncode == 2
    assert re.search(r"^(\[1\] )?error: .*no_such_recipe", result.stderr, re.MULTILINE)


@pytest.fixture
def waiting(tmp_path):
    """A launcher whose two processes wait. They end with 130 after SIGINT, and with 75 after SIGTERM."""
    program = tmp_path / "program"
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(program)}
    launcher = subprocess.Popen([SCRIPT, "2"], env=environment, stdout=subprocess.PIPE, text=True, process_group=0)
    with launcher:
        try:
            assert launcher.stdout is not None
            assert {launcher.stdout.readline() for _ in range(2)} == {"waiting\n", "[1] waiting\n"}
            yield launcher
        finally:
            end(launcher.pid)


def test_ctrl_c_stops_as_sigterm_does(waiting):
    os.killpg(waiting.pid, signal.SIGINT)  # as a terminal does: to the process group of the foreground
    assert waiting.wait(teams.SECONDS) == 75


def test_a_second_signal_kills(waiting):
    stuck = children(waiting.pid)
    for pid in stuck.values():
        os.kill(pid, signal.SIGSTOP)
        processes.wait_for(waiting, lambda pid=pid: status(pid)["State"].startswith("T"))
    waiting.send_signal(signal.SIGTERM)
    for pid in stuck.values():  # the first is passed on
        processes.wait_for(waiting, lambda pid=pid: int(status(pid)["ShdPnd"], 16) == 1 << signal.SIGTERM - 1)
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(teams.SECONDS) == 128 + signal.SIGKILL
    assert not any(Path(f"/proc/{pid}").exists() for pid in stuck.values())


# Stands for the interpreter: process 1 fails once process 0 is there, which waits and does not end by SIGTERM.
FAILING = f"""#!{sys.executable}
import os, pathlib, signal, sys, time
if sys.argv[1] == "-c":
    exec(sys.argv[2])
    sys.exit()
there = pathlib.Path("pid")
if "--process_id=1" in sys.argv:
    while not there.exists():
        time.sleep(0.05)
    sys.exit(3)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
there.with_suffix(".new").write_text(str(os.getpid()))
there.with_suffix(".new").rename(there)
while True:
    signal.pause()
"""


def test_a_process_that_fails_ends_those_that_would_go_on(tmp_path):
    program = tmp_path / "program"
    program.write_text(FAILING, encoding="utf-8")
    program.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(program)}
    command = [SCRIPT, "2"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as launcher:
        try:
            _, errors = launcher.communicate(timeout=teams.SECONDS)
        finally:
            end(launcher.pid)
    assert (launcher.returncode, errors.strip()) == (3, "launch/local.sh: process 1 failed with exit code 3")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


@pytest.mark.parametrize(
    ("visible", "count", "shares"), [(None, 2, ["0,1", "2,3"]), ("5,6", 2, ["0", "1"]), (None, 1, ["0,1,2,3"])]
)
def test_processes_share_the_gpus(tmp_path, visible, count, shares):
    result = on_four_gpus(tmp_path, visible, count)
    assert result.returncode == 0, result.stderr
    given = re.findall(r"--process_id=(\d) --local_device_ids=(\S+)", result.stdout)
    assert sorted(given) == [(str(number), share) for number, share in enumerate(shares)]


def test_gpus_that_cannot_be_shared_are_refused(tmp_path):
    result = on_four_gpus(tmp_path, None, 3)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: 3: the number of processes (allowed here: one that divides the 4 GPUs)\n"


def on_four_gpus(folder: Path, visible: str | None, count: int) -> subprocess.CompletedProcess[str]:
    """Runs the launcher where nvidia-smi lists four GPUs; its processes print their arguments."""
    programs = {
        "nvidia-smi": "#!/bin/bash\nprintf 'GPU %d: (UUID)\\n' 0 1 2 3\n",
        "python": f'#!/bin/bash\n[[ $1 == -c ]] && exec {sys.executable} "$@"\necho "$*"\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": str(folder / "python")}
    environment |= {"JAX_PLATFORMS": "", "CUDA_VISIBLE_DEVICES": visible or ""}
    return subprocess.run([SCRIPT, str(count)], env=environment, capture_output=True, text=True, timeout=teams.SECONDS)


def status(pid: int) -> dict[str, str]:
    """What the system says of a process."""
    return dict(re.findall(r"^(\w+):\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))


def test_each_line_names_its_process_once(tmp_path):
    program = tmp_path / "python"
    line = 'number=${!#}; number=${number#*=}; echo "some line"; echo "process $number of 3 (host): error: bad" >&2'
    program.write_text(f'#!/bin/bash\n[[ $1 == -c ]] && exec {sys.executable} "$@"\n{line}\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(program)}
    result = subprocess.run([SCRIPT, "3"], env=environment, capture_output=True, text=True, timeout=teams.SECONDS)
    assert result.returncode == 0
    assert sorted(result.stdout.splitlines()) == ["[1] some line", "[2] some line", "some line"]
    assert sorted(result.stderr.splitlines()) == [f"process {number} of 3 (host): error: bad" for number in range(3)]


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[int, int]]]:
    """The launcher once it has taken steps, and the ids of its processes by their numbers; all end with the block."""
    workdir = folder / next(word.partition("=")[2] for word in command if word.startswith("--workdir="))
    lines = processes.count_lines(workdir)
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
            processes.wait_for(launcher, written)
            yield launcher, children(launcher.pid)
        finally:
            end(launcher.pid)


def end(launcher: int) -> None:
    """Kills the processes of a launcher that has not ended, which ends it."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for pid in children(launcher).values():
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> dict[int, int]:
    """The ids of the processes of a launcher, by their numbers."""
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
    command = [*shlex.split(line), *SHORT]
    workdir = tmp_path / "runs" / "local"

    with running(command, tmp_path) as (launcher, ids):
        assert sorted(ids) == [0, 1]
        launcher.send_signal(signal.SIGTERM)
        output, _ = launcher.communicate(timeout=teams.SECONDS)
    assert launcher.returncode == 75, output
    (saved,) = processes.steps_saved(workdir)
    assert saved > 0
    assert f"step {saved}" in output

    with running(command, tmp_path) as (launcher, ids):  # resumed
        os.kill(ids[1], signal.SIGKILL)
        output, _ = launcher.communicate(timeout=teams.SECONDS)
    assert launcher.returncode == 128 + signal.SIGKILL, output
    assert f"launch/local.sh: process 1 failed with exit code {launcher.returncode}" in output
    assert not Path(f"/proc/{ids[0]}").exists()
    assert f"resumed at step {saved}" in output
