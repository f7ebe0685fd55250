"""launch/slurm.sbatch on a real Slurm of two nodes: runs end, are stopped and queued again, are preempted, fail."""

import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest

from resnet_alexnet.workdir.config import load_config
from resnet_alexnet.workdir.folder import last_checkpoint
from tests.support import documents, processes, slurm, teams

pytestmark = [slurm.needs_slurm, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
# Of the run: a network that compiles in a second, and a learning rate that does not depend on the number of steps.
SHORT = (
    f"--config.model.name={teams.SMALL_NET}",
    "--config.batch_size=8",
    "--config.log.every_steps=10",
    "--config.eval.every_steps=50",
    "--config.schedule.name=constant",
)
# The interpreter of the project. The number of steps is in a file: a run that is queued again has its first arguments.
PYTHON = f"""#!/bin/bash
exec {sys.executable} "$@" "--config.num_steps=$(<num_steps)"
"""
# Stands for the interpreter: ends with its last argument as exit code, or waits until SIGTERM, and ends with 75. The
# process that Slurm ends, because the other one was first, has the same code.
PROGRAM = """#!/bin/bash
if [[ ${!#} != wait ]]; then
  trap 'exit "${!#}"' TERM
  touch "ready$SLURM_PROCID"
  until [[ -e ready0 && -e ready1 ]]; do sleep 0.1; done
  exit "${!#}"
fi
trap 'touch "told$SLURM_PROCID"; exit 75' TERM
echo $$ >"pid$SLURM_PROCID"
echo waiting
tail --follow --pid=$$ /dev/null >/dev/null 2>&1 & wait  # which ends when this process is killed
"""


@pytest.fixture(scope="module")
def cluster():
    with slurm.started_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where jobs are submitted: the project, in so far as the README's command needs it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "launch").symlink_to(ROOT / "launch")
    (folder / ".venv" / "bin").mkdir(parents=True)
    write_program(folder / ".venv" / "bin" / "python", PYTHON)
    return folder


def write_program(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)


def submit(cluster: slurm.Cluster, folder: Path, name: str) -> tuple[str, Path]:
    """Submits a run by the README's command, shortened; its job and run folder."""
    (line,) = [line for line in documents.commands(documents.read("README.md")) if line.startswith("sbatch ")]
    assert "--workdir=runs/slurm" in line
    words = shlex.split(line.replace("runs/slurm", f"runs/{name}"))
    job = cluster.submit(*words[1:], *SHORT, cwd=folder, **processes.environment(folder / "cache"))
    return job, folder / "runs" / name


def wait_for_steps(cluster: slurm.Cluster, folder: Path, job: str, workdir: Path, *, lines: int = 1) -> None:
    """Waits until a run has written so many lines on what it did."""
    written = processes.lines_written(workdir, lines)

    def holds() -> bool:
        assert cluster.show(job)["JobState"] in ("PENDING", "CONFIGURING", "RUNNING"), log(folder, job)
        return written()

    processes.wait_until(holds, lambda: f"steps of job {job}", teams.SECONDS, every=slurm.EVERY)


def log(folder: Path, job: str) -> str:
    return (folder / f"resnet_alexnet-{job}.log").read_text(encoding="utf-8")


def exit_codes(folder: Path, job: str) -> set[int]:
    """Those that srun names, which may end before it names that of the second process."""
    return {int(code) for code in re.findall(r"Exited with exit code (\d+)", log(folder, job))}


def restarts(fields: dict[str, str]) -> tuple[str, int]:
    return fields["JobState"], int(fields["Restarts"])


def tasks(cluster: slurm.Cluster, workdir: Path) -> dict[int, int]:
    """The process ids of the run in `workdir`, by their numbers under Slurm."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_text().split("\0")
            variables = dict(each.partition("=")[::2] for each in (process / "environ").read_text().split("\0"))
        except (OSError, UnicodeDecodeError):  # not a process, or one that has ended
            continue
        ours = variables.get("SLURM_CONF") == cluster.environment["SLURM_CONF"]
        if ours and words[1:3] == ["-m", "resnet_alexnet.main"] and f"--workdir=runs/{workdir.name}" in words:
            found[int(variables["SLURM_PROCID"])] = int(process.name)
    return found


def test_a_run_that_is_stopped_and_killed_ends_as_one_that_is_not(cluster, folder):
    (folder / "num_steps").write_text("1_000_000")
    job, workdir = submit(cluster, folder, "stopped")
    wait_for_steps(cluster, folder, job, workdir)
    cluster.run("scancel", "--signal=TERM", job)
    fields = cluster.wait_for_end(job, seconds=teams.SECONDS)
    assert restarts(fields) == ("PENDING", 1), log(folder, job)
    saved = processes.steps_saved(workdir)[-1]
    assert saved > 0
    said = re.findall(r"^(\d): .*saved a checkpoint at step (\d+)", log(folder, job), re.MULTILINE)
    assert sorted(said) == [("0", str(saved)), ("1", str(saved))]
    assert exit_codes(folder, job) == {75}

    # The same job again, one of whose processes is then killed.
    seen = processes.count_lines(workdir)
    cluster.start_again(job)
    wait_for_steps(cluster, folder, job, workdir, lines=seen + 1)  # a resumed run first removes one of a stopped run
    assert f"0: resumed at step {saved}" in log(folder, job)
    os.kill(tasks(cluster, workdir)[1], signal.SIGKILL)
    fields = cluster.wait_for_end(job, restarts=1, seconds=teams.SECONDS)
    assert restarts(fields) == ("FAILED", 1), log(folder, job)
    assert tasks(cluster, workdir) == {}

    (folder / "num_steps").write_text(str(last_checkpoint(workdir) + 20))
    job, _ = submit(cluster, folder, "stopped")
    assert restarts(cluster.wait_for_end(job, seconds=teams.SECONDS)) == ("COMPLETED", 0), log(folder, job)
    assert "0: resumed at step " in log(folder, job)

    job, undisturbed = submit(cluster, folder, "undisturbed")
    assert restarts(cluster.wait_for_end(job, seconds=teams.SECONDS)) == ("COMPLETED", 0), log(folder, job)
    assert "2 x cpu, process 0 of 2" in log(folder, job)
    processes.assert_same_end(workdir, undisturbed, load_config(str(workdir / "config.json")))


@pytest.fixture
def program(tmp_path):
    """What a job runs in place of Python, for what Slurm and the script do at its end."""
    write_program(tmp_path / "program", PROGRAM)

    def submit_with(cluster: slurm.Cluster, argument: str) -> str:
        variables = {"PYTHON": str(tmp_path / "program")}
        return cluster.submit(ROOT / "launch" / "slurm.sbatch", argument, cwd=tmp_path, **variables)

    return submit_with


def wait_for_processes(cluster: slurm.Cluster, job: str, folder: Path) -> None:
    cluster.wait(job, "RUNNING")
    file = folder / f"resnet_alexnet-{job}.log"
    processes.wait_until(lambda: file.exists() and file.read_text().count("waiting") == 2, lambda: "both processes")


@pytest.mark.parametrize("code", [1, 2, 134])
def test_a_failure_is_not_tried_again(cluster, program, code):
    fields = cluster.wait_for_end(program(cluster, str(code)))
    assert restarts(fields) == ("FAILED", 0)
    assert fields["ExitCode"] == f"{code}:0"


def test_a_process_that_dies_ends_the_others_and_the_job(cluster, program, tmp_path):
    job = program(cluster, "wait")
    wait_for_processes(cluster, job, tmp_path)
    ids = [int((tmp_path / f"pid{number}").read_text()) for number in range(2)]
    os.kill(ids[1], signal.SIGKILL)
    fields = cluster.wait_for_end(job)
    assert restarts(fields) == ("FAILED", 0)
    assert fields["ExitCode"] == f"{128 + signal.SIGKILL}:0"
    assert not any(Path(f"/proc/{each}").exists() for each in ids)


def test_a_run_that_is_preempted_is_queued_again(cluster, program, tmp_path):
    job = program(cluster, "wait")
    wait_for_processes(cluster, job, tmp_path)
    urgent = cluster.submit("--partition=urgent", "--nodes=2", "--output=/dev/null", "--wrap=true")
    cluster.wait(urgent, "COMPLETED")
    assert restarts(cluster.show(job)) == ("PENDING", 1)
    assert sorted(path.name for path in tmp_path.glob("told*")) == ["told0", "told1"], "both were told to stop"
    assert exit_codes(tmp_path, job) == {75}


def test_a_run_that_is_canceled_is_not_queued_again(cluster, program, tmp_path):
    job = program(cluster, "wait")
    wait_for_processes(cluster, job, tmp_path)
    cluster.run("scancel", job)
    fields = cluster.wait_for_end(job)
    assert restarts(fields) == ("CANCELLED", 0)
    assert fields["ExitCode"] == "75:0", "it saved"
