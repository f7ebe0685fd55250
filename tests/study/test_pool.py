"""The local pool, with real processes that take no time; those of the package are in test_sweep."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnet_alexnet.cli.board import Board
from resnet_alexnet.study.pool import Task, run_pool
from resnet_alexnet.workdir.lock import find_holder
from tests.support import processes
from tests.support.processes import wait_until

# What stands for a run: it says that it is there, and saves when it is told to.
LIVING = 'trap "echo saving; exit 75" TERM; echo $$ > new; mv new alive; while :; do sleep 0.05; done'


def task(folder: Path, script: str, name: str = "a") -> Task:
    run = folder / name
    return Task(name, run, ("/bin/bash", "-c", f"cd {shlex.quote(str(run))} && {script}"), 10)


def pool(tasks, *, jobs=2, gpus=(), retries=1):
    with Board(len(tasks)) as board:
        return run_pool(tasks, jobs=jobs, gpus=gpus, retries=retries, board=board)


def test_a_run_that_fails_is_started_again_and_bad_input_is_not(tmp_path, capsys):
    failed = pool(
        [
            task(tmp_path, "echo one >>ran; echo it broke; exit 1", "broken"),
            task(tmp_path, "echo one >>ran; [ $(wc -l <ran) = 3 ]", "late"),
            task(tmp_path, "echo one >>ran; exit 2", "wrong"),
            task(tmp_path, "echo one >>ran; kill -KILL $$", "killed"),
            task(tmp_path, "echo one >>ran", "good"),
        ],
        retries=2,
    )
    runs = {path.parent.name: path.read_text().count("one") for path in tmp_path.glob("*/ran")}
    assert runs == {"broken": 3, "late": 3, "wrong": 1, "killed": 3, "good": 1}
    assert sorted(failed) == ["broken", "killed", "wrong"]
    log = (tmp_path / "broken" / "log.txt").read_text()
    assert log.count("it broke\n") == 3
    assert log.count("$ /bin/bash -c ") == 3
    output = capsys.readouterr().out
    assert f"the end of {tmp_path / 'broken' / 'log.txt'}:\n  " in output
    assert output.count("  it broke\n") == 3, "the last attempt's log, once"
    assert "killed: failed (SIGKILL), is tried again" in output
    assert "wrong: failed (exit code 2)," in output


@pytest.mark.parametrize("end", ["diverged", "stuck"])
def test_a_run_of_which_a_check_failed_is_a_result_and_is_not_tried_again(tmp_path, capsys, end):
    ends = f"""echo one >>ran; echo '{{"step": 7, "{end}": true}}' >metrics.jsonl; exit 1"""
    assert pool([task(tmp_path, ends)]) == []
    assert (tmp_path / "a" / "ran").read_text() == "one\n"
    assert f"1/1 done: a: {end} at step 7, " in capsys.readouterr().out


def test_a_run_that_was_stopped_at_a_null_loss_has_not_diverged(tmp_path):
    stops = """echo one >>ran; echo '{"step": 7, "train/loss": null, "stopped": true}' >metrics.jsonl; exit 1"""
    assert pool([task(tmp_path, stops)]) == ["a"]
    assert (tmp_path / "a" / "ran").read_text() == "one\none\n"


def test_a_folder_in_use_is_waited_for_while_others_run(tmp_path, monkeypatch, capsys):
    """It is released when the other run is done and the pool has looked at it several times."""
    held, other = task(tmp_path, "touch ran", "a"), task(tmp_path, "touch ran", "b")
    held.folder.mkdir()
    looks = []

    def look(folder: Path):
        looks.append(folder)
        if looks.count(held.folder) > 3 and (other.folder / "ran").exists():
            process.terminate()
        return find_holder(folder)

    monkeypatch.setattr("resnet_alexnet.study.pool.find_holder", look)
    holder = "import sys, fcntl; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); print(flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{holder}; sys.stdin.read()", str(held.folder / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert pool([held, other], retries=0) == []
    assert (held.folder / "ran").exists()
    assert capsys.readouterr().out.count("a waits: its folder is in use by another process") == 1


def test_the_cores_are_divided_and_each_run_sees_its_gpu(tmp_path):
    script = f"{shlex.quote(sys.executable)} -c 'import os; print(sorted(os.sched_getaffinity(0)))' >cores"
    script += "; echo $CUDA_VISIBLE_DEVICES >gpu; while [ $(ls ../*/gpu | wc -w) -lt 2 ]; do sleep 0.02; done"
    assert pool([task(tmp_path, script, name) for name in "ab"], gpus=("4", "6")) == []
    ours = sorted(os.sched_getaffinity(0))
    first, second = (eval((tmp_path / name / "cores").read_text()) for name in "ab")
    assert (first, second) == (ours[::2], ours[1::2] or ours[:1])
    assert [(tmp_path / name / "gpu").read_text() for name in "ab"] == ["4\n", "6\n"]


def test_as_many_runs_at_once_as_there_are_jobs_and_no_more(tmp_path):
    class Counting(Board):
        running, counts = 0, ()

        def start(self, name: str, steps: int) -> None:
            super().start(name, steps)
            self.running += 1
            self.counts = (*self.counts, self.running)

        def end(self, name: str, text: str, *, done: bool) -> None:
            super().end(name, text, done=done)
            self.running -= 1

    with Counting(5) as board:
        run_pool([task(tmp_path, ":", name) for name in "abcde"], jobs=2, gpus=(), retries=0, board=board)
    assert len(board.counts) == 5
    assert max(board.counts) == 2


@contextlib.contextmanager
def started_pool(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a pool of two runs that go on for ever, and a third that waits; killed if it still runs."""
    code = f"""
    from pathlib import Path, PosixPath
    from resnet_alexnet.cli.board import Board
    from resnet_alexnet.cli.command import exit_with
    from resnet_alexnet.study.pool import Task, run_pool
    tasks = {[task(folder, LIVING, name) for name in "abc"]}
    exit_with(lambda: run_pool(tasks, jobs=2, gpus=(), retries=0, board=Board(3)))
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=processes.CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            processes.wait_for(process, lambda: all((folder / name / "alive").exists() for name in "ab"))
            yield process
        finally:
            process.kill()  # which ends its runs


def is_alive(folder: Path, name: str) -> bool:
    return os.path.exists(f"/proc/{(folder / name / 'alive').read_text().strip()}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130), (signal.SIGHUP, 75)])
def test_a_signal_stops_the_runs_which_save_and_starts_no_others(tmp_path, number, code):
    with started_pool(tmp_path) as process:
        os.killpg(process.pid, number)  # as a terminal does: the runs are in groups of their own
        output, _ = process.communicate(timeout=processes.SECONDS)
    assert process.returncode == code, output
    assert output.splitlines()[-1] == (f"{number.name}: 0 of 3 runs are done; run the same command again to continue")
    for name in "ab":
        assert (tmp_path / name / "log.txt").read_text().splitlines().count("saving") == 1
        assert not is_alive(tmp_path, name)
    assert not (tmp_path / "c").exists()


def test_runs_end_with_a_pool_that_is_killed(tmp_path):
    with started_pool(tmp_path) as process:
        process.kill()
        process.communicate(timeout=processes.SECONDS)
    wait_until(lambda: not any(is_alive(tmp_path, name) for name in "ab"), lambda: "the end of the runs")
    assert "\nsaving\n" in (tmp_path / "a" / "log.txt").read_text()


def test_runs_are_stopped_if_the_output_of_the_sweep_is_gone(tmp_path):
    with started_pool(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.close()
        os.kill(int((tmp_path / "a" / "alive").read_text()), signal.SIGKILL)  # which the pool would report
        assert process.wait(timeout=processes.SECONDS) == 141
    assert not is_alive(tmp_path, "b")
