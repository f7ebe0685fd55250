"""Runs of several processes: equal to one process, stopped and killed in every way, and resumed on fewer and more."""

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resnet_alexnet.workdir.folder import last_checkpoint
from tests.support import teams
from tests.support.processes import (
    assert_same_run,
    count_lines,
    lines_written,
    log_lines,
    saved_leaves,
    saving_began,
    steps_saved,
)

pytestmark = pytest.mark.slow

# Each process reads only its rows.
CONFIG = teams.config(num_steps=40, eval__every_steps=10, checkpoint__every_steps=8, dataset__on_device="no")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """What the first process of a team has compiled, for those after it."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def two(tmp_path_factory, cache) -> tuple[Path, list[teams.Ended]]:
    """A run of two processes with two devices each that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    return workdir, teams.run(workdir, CONFIG, cache, count=2, devices=2)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, cache) -> Path:
    """The run of one process with four devices."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    ended = teams.run(workdir, CONFIG, cache, count=1, devices=4)
    assert ended[0].code == 0, ended
    return workdir


def assert_near(workdir: Path, other: Path, config) -> None:
    """Two finished runs ended with the same parameters and lines, but for the order in which numbers are added."""
    assert_near_leaves(workdir, other, config)
    for ours, theirs in zip(log_lines(workdir), log_lines(other), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            np.testing.assert_allclose(value, theirs[name], rtol=1e-4, err_msg=name)


def assert_near_leaves(workdir: Path, other: Path, config) -> None:
    """Two finished runs ended with the same state, but for the order in which numbers are added."""
    ours, theirs = saved_leaves(workdir, config), saved_leaves(other, config)
    assert ours.keys() == theirs.keys()
    for name, leaf in ours.items():
        np.testing.assert_allclose(leaf, theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_two_processes_of_two_devices_train_as_one_of_four(two, alone):
    workdir, ended = two
    assert [each.code for each in ended] == [0, 0], ended
    assert_near(workdir, alone, CONFIG)


def test_process_0_alone_prints_and_says_which_it_is(two):
    _, (first, second) = two
    assert "4 x cpu, process 0 of 2" in first.output
    assert "test error" in first.output
    assert [line for line in second.output.splitlines() if "[Gloo]" not in line] == []  # which is jax's own
    assert first.errors == second.errors == ""


def test_four_processes_of_two_devices_train_as_one_of_eight(cache, tmp_path):
    for name, count, devices in (("four", 4, 2), ("one", 1, 8)):
        ended = teams.run(tmp_path / name, CONFIG, cache, count=count, devices=devices)
        assert {each.code for each in ended} == {0}, ended
    assert_near(tmp_path / "four", tmp_path / "one", CONFIG)


def test_a_run_that_is_stopped_and_killed_in_every_way_ends_as_one_that_is_not(cache, tmp_path):
    workdir = tmp_path / "run"
    config = teams.config(num_steps=10**6, log__every_steps=10, eval__every_steps=40, checkpoint__every_steps=40)

    def disturb(until: Callable[[], bool], process: int, number: int) -> list[teams.Ended]:
        """Starts or resumes the run, and sends a process a signal once `until` holds."""
        with teams.started(teams.commands(workdir, config), cache, devices=2) as team:
            team.wait_for(until)
            team.processes[process].send_signal(number)
            return team.end()

    def more_lines() -> Callable[[], bool]:
        return lines_written(workdir, count_lines(workdir) + 2)  # a resumed run first removes one of a stopped run

    # SIGTERM to one process: both save the same step, and say so.
    first, second = disturb(more_lines(), 1, signal.SIGTERM)
    assert (first.code, second.code) == (75, 75), (first, second)
    saved = steps_saved(workdir)[-1]
    for each in (first, second):
        assert f"one of the processes was told to stop: saved a checkpoint at step {saved}" in each.errors

    # Ctrl-C to process 0.
    first, second = disturb(more_lines(), 0, signal.SIGINT)
    assert (first.code, second.code) == (130, 75), (first, second)
    saved = steps_saved(workdir)[-1]
    assert f"SIGINT: saved a checkpoint at step {saved}" in first.errors
    assert f"saved a checkpoint at step {saved}" in second.errors

    # Process 1 is killed in a step.
    first, second = disturb(more_lines(), 1, signal.SIGKILL)
    assert second.code == -signal.SIGKILL
    assert first.code in (1, -signal.SIGABRT), first

    # Process 0 is killed in a save.
    first, second = disturb(saving_began(workdir, saved + 1), 0, signal.SIGKILL)
    assert first.code == -signal.SIGKILL
    assert second.code in (1, -signal.SIGABRT), second

    # The newest checkpoint is damaged: both go back to the one before.
    newest = last_checkpoint(workdir)  # beside what was being written
    files = [path for path in (workdir / "checkpoints" / str(newest)).rglob("*") if path.is_file()]
    max(files, key=lambda path: path.stat().st_size).write_bytes(b"damaged")
    config.num_steps = newest + 130  # more than the checkpoints that are kept
    first, second = teams.run(workdir, config, cache, count=2, devices=2)
    assert (first.code, second.code) == (0, 0), (first, second)
    assert f"warning: checkpoint {newest} is damaged and was moved" in first.output
    assert f": warning: checkpoint {newest} is damaged and was moved" in second.errors

    undisturbed = tmp_path / "undisturbed"
    assert [each.code for each in teams.run(undisturbed, config, cache, count=2, devices=2)] == [0, 0]
    assert_same_run(workdir, undisturbed, config)


def test_a_stuck_process_ends_the_others_by_the_watchdog(cache, tmp_path):
    workdir = tmp_path / "run"
    patient = teams.config(hosts__heartbeat_seconds=300, hosts__watchdog_seconds=3, log__every_steps=1)
    patient.num_steps = 10**6
    with teams.started(teams.commands(workdir, patient), cache, collective_seconds=300) as team:
        team.wait_for(lines_written(workdir, 12))
        team.processes[1].send_signal(signal.SIGSTOP)
        ended = team.end_of(0)
    assert ended.code == 1
    assert re.search(r"^process 0 of 2 \(.*\): error: nothing finished for \d+ s after step \d+: ", ended.errors, re.M)
    assert 'loop.py", line' in ended.errors  # where its threads are


def test_a_run_goes_on_with_more_and_fewer_processes_and_devices(cache, tmp_path):
    """One process with four devices, two with one each, one with eight: as one with four."""
    config = teams.config(model__name=f"{teams.SMALL_NET}WithoutNorm", num_steps=20, checkpoint__keep=9)
    same, workdir = tmp_path / "same", tmp_path / "run"
    assert teams.run(same, config, cache, count=1, devices=4)[0].code == 0
    shutil.copytree(same, workdir)  # as if it had been killed after its first checkpoint
    first, *later = steps_saved(same)
    for step in later:
        shutil.rmtree(workdir / "checkpoints" / str(step))
    lines = (same / "metrics.jsonl").read_text().splitlines(keepends=True)
    (workdir / "metrics.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= first))
    for num_steps, count, devices in ((10, 2, 1), (20, 1, 8)):
        config.num_steps = num_steps
        ended = teams.run(workdir, config, cache, count=count, devices=devices)
        assert {each.code for each in ended} == {0}, ended
    assert_near_leaves(workdir, same, config)


def test_a_save_that_fails_on_one_ends_all_at_once(cache, tmp_path):
    config = teams.config(num_steps=10**6, checkpoint__every_steps=20, log__every_steps=2000, eval__every_steps=0)
    config.schedule.name = "constant"
    with teams.started(teams.commands(tmp_path / "run", config), cache) as team:
        checkpoints = tmp_path / "run" / "checkpoints"
        team.wait_for(lambda: (checkpoints / "40").exists())
        checkpoints.rename(tmp_path / "moved")
        checkpoints.write_text("a file where the folder was")
        ended = team.end()
    assert [each.code for each in ended] == [1, 1] or [each.code for each in ended] == [1, 134]
    assert "Not a directory" in ended[0].errors
    assert "if another process has an error too, see that first" in ended[1].errors or ended[1].code == 134
