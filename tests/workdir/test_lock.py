"""Two launches on one run folder: the second is refused by the name of the first."""

import contextlib
import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.workdir.folder import check_workdir
from resnet_alexnet.workdir.lock import Holder, find_holder, locked
from tests.support import tiny
from tests.support.files import snapshot
from tests.support.processes import CHECKOUT, MAIN, run, started, words

HOLD = """
import sys
from pathlib import Path
from resnet_alexnet.workdir.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holding(workdir: Path):
    """A process that holds the lock of `workdir` until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(workdir)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_is_refused_by_the_name_of_the_first(tmp_path):
    workdir = tmp_path / "deep" / "run"
    with holding(workdir) as process:
        before = snapshot(tmp_path)
        named = rf"in use by process {process.pid} on {re.escape(socket.gethostname())}, since \d{{4}}-\d\d-\d\d \d\d:"
        for _ in range(2):
            with pytest.raises(InputError, match=named), locked(workdir):
                pytest.fail("two processes hold the lock")
        holder = find_holder(workdir)
        assert holder is not None
        assert (holder.host, holder.pid) == (socket.gethostname(), process.pid)
        assert not check_workdir(workdir, tiny.config())  # still a folder without a run
        assert snapshot(tmp_path) == before
        process.communicate("")
    assert find_holder(workdir) is None
    assert os.listdir(tmp_path) == []  # nothing was left in it


def test_a_killed_process_frees_the_lock_at_once(tmp_path):
    with holding(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert sorted(os.listdir(tmp_path)) == ["lock", "lock.json"]
        assert find_holder(tmp_path) is None
        assert not check_workdir(tmp_path, tiny.config())
        with locked(tmp_path):
            assert find_holder(tmp_path) == Holder(socket.gethostname(), os.getpid(), find_holder(tmp_path).since)
    assert os.listdir(tmp_path) == []


def test_asking_who_holds_it_keeps_nobody_out(tmp_path):
    with locked(tmp_path):
        (tmp_path / "lock.json").unlink()  # as before the first has written it
        assert str(find_holder(tmp_path)) == "another process"
        with pytest.raises(InputError, match="in use by another process"), locked(tmp_path):
            pass
    (tmp_path / "lock").touch()
    descriptor = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    assert find_holder(tmp_path) is None
    os.close(descriptor)
    with locked(tmp_path):
        pass


def test_what_the_block_leaves_stays_and_what_is_not_a_runs_is_not_touched(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "new"):
        raise KeyError
    assert os.listdir(tmp_path) == []
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "config.json").write_text("{}")
    assert os.listdir(tmp_path / "run") == ["config.json"]
    (tmp_path / "lock").write_text("mine")  # in a folder that is no run's
    before = snapshot(tmp_path)
    with locked(tmp_path):
        assert snapshot(tmp_path) == before
    for path in (tmp_path / "lock", tmp_path / "lock" / "below", tmp_path / ("n" * 300)):
        with locked(path):  # `check_workdir` and `create_workdir` say what is wrong
            pass
    assert snapshot(tmp_path) == before


def test_a_lock_file_that_its_holder_removes_while_it_is_opened_is_no_lock(tmp_path, monkeypatch):
    flock, removed = fcntl.flock, []

    def remove_first(file, kind):
        if not removed:
            removed.append((tmp_path / "lock").unlink())
        flock(file, kind)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with locked(tmp_path):
        assert find_holder(tmp_path) is not None
        with pytest.raises(InputError, match=f"in use by process {os.getpid()} on "), locked(tmp_path):
            pass
    assert os.listdir(tmp_path) == []


def test_without_locks_a_run_starts_with_a_notice(tmp_path, monkeypatch, capsys):
    def flock(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in range(2):
        with locked(tmp_path):
            assert find_holder(tmp_path) is None
        expected = f"notice: {tmp_path} cannot be locked (No locks available): start no second run in it\n"
        assert capsys.readouterr().err == expected


def test_of_a_folder_that_cannot_be_written_the_lock_says_nothing(tmp_path, capsys):
    (tmp_path / "lock").mkdir()  # which root cannot write either
    with locked(tmp_path):
        pass
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_a_second_launch_on_a_running_run_exits_with_2_and_disturbs_nothing(tmp_path):
    config, workdir = tiny.config(num_steps=100_000, eval__every_steps=0, checkpoint__every_steps=0), tmp_path / "run"
    command = [*MAIN, *words(config), f"--workdir={workdir}"]
    with started(command, tmp_path / "cache") as first:
        assert first.stdout is not None
        while not (line := first.stdout.readline()).startswith("step "):
            assert line, first.communicate()
        code, output, errors = run(command, tmp_path / "cache")
        assert (code, output) == (2, "")
        assert f"error: --workdir={workdir} is in use by process {first.pid} on " in errors
        assert errors.count("\n") == 1
        code, _, errors = run(["-m", "resnet_alexnet.results", str(workdir)], tmp_path / "cache")
        assert (code, "has no result" in errors) == (2, True)
        first.send_signal(signal.SIGTERM)
        first.communicate()
        assert first.returncode == 75
    assert not any(path.name.startswith("lock") for path in workdir.iterdir())
