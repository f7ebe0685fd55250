"""A sweep as an array job of a real Slurm of two nodes; and its script, run by a shell alone."""

import json
import os
import re
import signal
import subprocess

import pytest

from resnet_alexnet.cli.board import Board
from resnet_alexnet.errors import InputError
from resnet_alexnet.study import slurm
from resnet_alexnet.study.pool import Task
from resnet_alexnet.study.slurm import array_script, run_array
from resnet_alexnet.study.state import read_state
from tests.support import processes, sweeps
from tests.support.processes import wait_until
from tests.support.slurm import Cluster, needs_slurm, started_cluster

# Stands for srun: runs the command behind its own flags, here.
SRUN = 'while [[ $1 == --* ]]; do shift; done; exec "$@"'


def run_script(
    folder, command: str, *, retries: int = 0, state: str = "RUNNING", cancel: bool = False
) -> tuple[int, str]:
    """Runs the script of an array of two tasks as its second one; returns (exit code, what scontrol was told).

    Args:
        folder: that of the sweep.
        command: what the task does, in bash.
        retries: see `run_array`.
        state: that of the task, as scontrol shows it.
        cancel: whether the script gets SIGTERM once there is a file `alive`; then there is a file `canceled`.
    """
    for name, program in (
        ("scontrol", f'[ "$1" = show ] && exec echo "JobId=8 ArrayJobId=7 JobState={state} X=0"; echo "$@" >>told'),
        ("srun", SRUN),
    ):
        (folder / name).write_text(f"#!/bin/bash\n{program}\n")
        (folder / name).chmod(0o755)
    tasks = [Task(name, folder / name, ("/bin/bash", "-c", command), 1) for name in ("not this", "it's this")]
    script = array_script(tasks, workdir=folder, jobs=2, retries=retries)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}
    process = subprocess.Popen(["/bin/bash", "-c", script], cwd=folder, env=environment)
    if cancel:
        wait_until((folder / "alive").exists, lambda: "the task")
        process.send_signal(signal.SIGTERM)
        (folder / "canceled").touch()
    code = process.wait(timeout=processes.SECONDS)
    assert not (folder / "not this").exists()
    return code, (folder / "told").read_text() if (folder / "told").exists() else ""


@pytest.mark.parametrize(
    ("command", "code", "attempts"),
    [("true", 0, 1), ("exit 1", 1, 3), ("exit 2", 2, 1), ("[ $(grep -c ^here log.txt) = 2 ]", 0, 2)],
)
def test_a_task_is_tried_again_unless_its_input_is_bad(tmp_path, command, code, attempts):
    assert run_script(tmp_path, f'cd "it\'s this"; echo here; {command}', retries=2) == (code, "")
    log = (tmp_path / "it's this" / "log.txt").read_text()
    assert len(re.findall(r"^here$", log, re.MULTILINE)) == attempts


@pytest.mark.parametrize(("state", "told"), [("RUNNING", "requeue 7_1\n"), ("COMPLETING", "")])
def test_a_task_that_has_saved_is_requeued_unless_slurm_ends_it(tmp_path, state, told):
    assert run_script(tmp_path, "exit 75", retries=3, state=state) == (75, told)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_task_that_slurm_ends_is_not_tried_again(tmp_path, code):
    command = f"touch alive; until [ -e canceled ]; do sleep 0.05; done; echo; echo here; exit {code}"
    assert run_script(tmp_path, command, retries=3, cancel=True) == (code, "")
    assert (tmp_path / "it's this" / "log.txt").read_text().count("\nhere\n") == 1


@pytest.mark.parametrize(
    ("line", "attempts"),
    [
        ({"step": 7, "train/loss": 0.1, "diverged": True}, 1),
        ({"stuck": True, "step": 7}, 1),
        ({"step": 7, "train/loss": None, "stopped": True}, 3),
    ],
)
def test_a_task_of_which_a_check_failed_is_not_tried_again(tmp_path, line, attempts):
    command = f"""cd "it's this"; echo here; echo '{json.dumps(line)}' >metrics.jsonl; exit 1"""
    assert run_script(tmp_path, command, retries=2) == (1, "")
    assert (tmp_path / "it's this" / "log.txt").read_text().splitlines().count("here") == attempts


class FakeSlurm:
    """Programs in a folder: sbatch runs the tasks of an array at once, and squeue says what the test wants."""

    def __init__(self, folder, monkeypatch) -> None:
        self.folder = folder
        self._write(
            "sbatch",
            f"echo 7; for script; do :; done; n=$(grep -o 'array=0-[0-9]*' $script | cut -d- -f2); "
            f"for i in $(seq 0 $n); do SLURM_ARRAY_TASK_ID=$i bash $script; done; echo one >>{folder}/submitted",
        )
        self._write("srun", SRUN)
        self.queue("")
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setattr(slurm, "_SECONDS", 0.05)

    def _write(self, name: str, script: str) -> None:
        (self.folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.folder / name).chmod(0o755)

    def queue(self, script: str) -> None:
        self._write("squeue", script)

    def run(self, tasks) -> list[str]:
        with Board(len(tasks)) as board:
            return run_array(tasks, workdir=self.folder, jobs=2, retries=0, options=(), board=board)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path, monkeypatch)


def finishing(folder, name: str) -> Task:
    line = '{"step": 1, "finished": true}'
    return Task(name, folder / name, ("/bin/bash", "-c", f"echo '{line}' >'{folder / name}/metrics.jsonl'"), 1)


def test_a_test_that_fails_in_the_array_has_failed_although_its_run_has_not(fake, tmp_path):
    finishing_report = "touch " + str(tmp_path / "a" / "report.json")
    tests = [
        Task(name, tmp_path / name, ("/bin/bash", "-c", command), 1, (tmp_path / name / "report.json",))
        for name, command in (("a", finishing_report), ("b", "exit 1"))
    ]
    assert fake.run(tests) == ["b"]


def test_points_that_an_array_in_the_queue_does_not_have_are_run_after_it(fake, tmp_path, capsys):
    old, new = finishing(tmp_path, "a"), finishing(tmp_path, "b")
    fake.run([old])
    (tmp_path / "a" / "metrics.jsonl").unlink()
    fake.queue("cd $(dirname $0); [ -e asked ] || { touch asked; echo 5; }")
    assert fake.run([old, new]) == ["a"]
    assert (tmp_path / "submitted").read_text() == "one\none\n"
    assert (tmp_path / "b" / "metrics.jsonl").exists()
    assert "following job 5" in capsys.readouterr().out


def test_a_scheduler_that_does_not_answer_for_a_while_is_asked_again(fake, tmp_path):
    fake.queue("cd $(dirname $0); echo x >>asks; [ $(wc -l <asks) -gt 3 ] || { echo timed out >&2; exit 1; }")
    assert fake.run([finishing(tmp_path, "a")]) == []
    fake.queue("echo no; exit 1")
    with pytest.raises(InputError, match="squeue failed: no"):
        fake.run([finishing(tmp_path, "b")])


@pytest.fixture(scope="module")
def cluster():
    with started_cluster() as cluster:
        yield cluster


def tasks_of(cluster: Cluster) -> dict[str, str]:
    """The states of the tasks in the queue, by their number in the array."""
    lines = cluster.run("squeue", "--array", "--noheader", "--format=%K %T").stdout.splitlines()
    return dict(line.split() for line in lines)


# Saves on the first SIGTERM, and on the second ends unsaved, as a run does. When it starts again it is done.
SAVES = """
[ -e saved ] && exit
trap 'trap "exit 75" TERM; sleep 0.3; while [ -e slow ]; do sleep 0.05; done; touch saved; exit 75' TERM
touch alive; while :; do sleep 0.05; done
"""


@pytest.fixture
def submitted(tmp_path, cluster):
    """An array job whose one task runs, in the folder of the sweep."""
    task = Task("a", tmp_path / "a", ("/bin/bash", "-c", SAVES), 1)
    (tmp_path / "array.sbatch").write_text(array_script([task], workdir=tmp_path, jobs=1, retries=1))
    job = f"{cluster.submit('--nodes=1', tmp_path / 'array.sbatch', cwd=tmp_path)}_0"
    wait_until((tmp_path / "alive").exists, lambda: "the task")
    return job


@needs_slurm
@pytest.mark.slow
@pytest.mark.parametrize("how", [("scancel", "--signal=TERM"), ("scontrol", "requeue")])
def test_a_task_that_slurm_stops_saves_is_requeued_once_and_goes_on(cluster, tmp_path, submitted, how):
    """As before the time limit or within the grace of a preemption; and as at the end of the grace."""
    cluster.run(*how, submitted)
    fields = cluster.wait_for_end(submitted)
    assert (fields["JobState"], fields["Restarts"]) == ("PENDING", "1"), fields
    assert (tmp_path / "saved").exists()
    cluster.start_again(submitted)
    fields = cluster.wait_for_end(submitted, restarts=1)
    assert (fields["JobState"], fields["Restarts"]) == ("COMPLETED", "1"), fields


@needs_slurm
@pytest.mark.slow
@pytest.mark.parametrize("amid_a_save", [False, True])
def test_a_task_that_is_canceled_saves_and_is_not_requeued(cluster, tmp_path, submitted, amid_a_save):
    if amid_a_save:
        (tmp_path / "slow").touch()
        cluster.run("scancel", "--signal=TERM", submitted)
    cluster.run("scancel", submitted)
    fields = cluster.wait_for_end(submitted)
    assert (fields["JobState"], fields["Restarts"]) == ("CANCELLED", "0"), fields
    assert (tmp_path / "saved").exists() != amid_a_save


@needs_slurm
@pytest.mark.slow
def test_a_sweep_is_an_array_job_which_is_followed_requeued_and_ends_in_a_table(tmp_path, cluster):
    """Of two points, the first is stopped by Slurm and requeued, and the second fails."""
    body = 'yield from ({"batch_size": size} for size in (16, 100_000))'
    hold = sweeps.Hold(tmp_path / "data", "batch_size=16")
    sweep = sweeps.write_sweep(tmp_path / "own.py", body, **hold.fields)
    words = [f"--sweep={sweep}", f"--workdir={tmp_path / 'runs'}", "--slurm", "--jobs=2"]
    environment = {**cluster.environment, "PYTHONUNBUFFERED": "1"}
    first = tmp_path / "runs" / "batch_size=16"
    with sweeps.start(*words, "--slurm_options=--cpus-per-task=1", **environment) as process:
        try:
            wait_until(lambda: read_state(first).step == 10, lambda: "ten steps", sweeps.SECONDS)
            job = next(iter(cluster.run("squeue", "--noheader", "--format=%F").stdout.split()))
            cluster.run("scancel", "--signal=TERM", f"{job}_0")
            process.send_signal(signal.SIGTERM)  # the sweep goes, the job stays
            output, _ = process.communicate(timeout=sweeps.SECONDS)
        finally:
            process.kill()
    assert process.returncode == 75, output
    assert f"as job {job}\n" in output
    assert output.splitlines()[-1].startswith(f"SIGTERM: job {job} goes on; run the same command again to follow it")
    wait_until(lambda: tasks_of(cluster).get("0") == "PENDING", lambda: "the requeued task", sweeps.SECONDS)
    hold.release()
    cluster.start_again(f"{job}_0")
    code, output = sweeps.run(*words, **environment)
    assert code == 1, output
    assert f"following job {job}, which an earlier call submitted" in output
    assert "submitted" not in output.replace("which an earlier call submitted", "")
    log = (first / "log.txt").read_text()
    assert "SIGTERM: saved a checkpoint at step 10" in log
    assert "resumed at step 10" in log
    assert read_state(first).reached(40)
    assert "batch_size=100000 failed" in output
    assert re.search(r"^16 +1/1 ", output, re.MULTILINE)
    assert (tmp_path / "runs" / "sweep.png").exists()
