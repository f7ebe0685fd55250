import json
import random
import re
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from resnet_alexnet.cli import command
from resnet_alexnet.train import loop
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.workdir.checkpoint import SET_ASIDE
from resnet_alexnet.workdir.folder import check_workdir
from tests.support import processes, tiny
from tests.support.events import events_of
from tests.support.files import snapshot
from tests.support.processes import MAIN, lines_written, log_lines, run, saving_began, steps_saved, words

# The command, and then a note of whether TensorFlow came along.
WITNESS = """
import runpy, sys
try:
    runpy.run_module("resnet_alexnet.main", run_name="__main__", alter_sys=True)
finally:
    print("tensorflow imported:", "tensorflow" in sys.modules)
"""
CONFIG = processes.resumable()


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cache) -> tuple[Path, str, str]:
    """The folder of a run that nothing disturbed, and what it printed."""
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    code, output, errors = run(["-c", WITNESS, *words(CONFIG), f"--workdir={workdir}"], cache)
    assert code == 0, errors
    return workdir, output, errors


def start_in_process(config, workdir) -> int:
    """The command's exit code, for this config in this process."""
    with pytest.raises(SystemExit) as stop:
        command.exit_with(lambda: loop.train_and_evaluate(config, workdir))
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def on_one_device(monkeypatch):
    """Runs in this process take one of its devices."""
    create = create_experiment
    monkeypatch.setattr(loop, "create_experiment", lambda config, *_, **__: create(config, jax.devices()[:1]))


@pytest.mark.slow
def test_a_run_leaves_the_folder_of_the_contract(undisturbed):
    workdir, _, _ = undisturbed
    assert sorted(path.name for path in workdir.iterdir()) == [
        "checkpoints",
        "config.json",
        "curves.png",
        "environment.json",
        "events",
        "metrics.jsonl",
    ]
    assert json.loads((workdir / "config.json").read_text()) == json.loads(json.dumps(CONFIG.to_dict()))
    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["versions"]["jax"]
    assert environment["devices"] == ["cpu"]
    assert "git_commit" in environment
    assert (workdir / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")

    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert lines[0].keys() == {"step", "start", "time", "num_steps"}
    assert lines[-1] == {"step": 40, "finished": True}
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(4, 41, 4))
    assert [line["step"] for line in lines if "val/loss" in line] == list(range(5, 41, 5))
    assert [line["step"] for line in lines if "test/loss" in line] == [40]
    for split in ("train", "val", "test"):
        (first, *_) = [line for line in lines if f"{split}/loss" in line]
        assert {"step", "epoch", f"{split}/loss", f"{split}/top1_error", f"{split}/top5_error"} <= first.keys()
    assert all(line["epoch"] == pytest.approx(line["step"] * 16 / 180) for line in lines[1:-1])
    assert any("images_per_second" in line for line in lines)
    learning_rates = {round(line["learning_rate"], 6) for line in lines if "learning_rate" in line}
    assert len(learning_rates) > 2, "the plateau and the warm-up did nothing, so resuming proves nothing about them"


@pytest.mark.slow
def test_a_pipe_gets_plain_lines_and_no_warnings_and_tensorflow_stays_away(undisturbed):
    workdir, output, errors = undisturbed
    assert errors == ""
    assert "\x1b" not in output
    assert "\r" not in output
    printed = output.splitlines()
    assert len([line for line in printed if line.startswith("step ")]) == len(log_lines(workdir)) - 1
    assert "learning rate 0.1, batch size 16, 40 steps (3.6 epochs)" in printed
    assert printed[-1] == "tensorflow imported: False"


@pytest.mark.slow
def test_events_hold_each_scalar_once(undisturbed):
    assert_events_follow_the_record(undisturbed[0])


def assert_events_follow_the_record(workdir: Path) -> None:
    events = events_of(workdir)
    curves = {"train/loss": "train/loss", "learning_rate": "train/learning_rate"}
    curves |= {name: name for name in ("val/top1_error", "test/loss")}
    for name, curve in curves.items():
        lines = [(line["step"], np.float32(line[name])) for line in log_lines(workdir) if name in line]
        assert [(step, np.float32(value)) for step, value in events[curve]] == lines


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_bits_and_lines_of_an_undisturbed_one(undisturbed, cache, tmp_path):
    chance = random.Random(2)
    moments = [
        lines_written(tmp_path / "run", chance.randint(2, 8)),
        saving_began(tmp_path / "run", chance.choice([12, 18])),
    ]
    kill_and_finish(tmp_path / "run", moments, undisturbed[0], cache)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(8))
def test_a_run_killed_anywhere_ends_with_the_bits_and_lines_of_an_undisturbed_one(undisturbed, cache, tmp_path, seed):
    chance = random.Random(seed)
    moments = []
    for earliest in (0, 10, 20):
        step = earliest + chance.randrange(8)
        kind = chance.choice([saving_began, lines_written])
        moments.append(kind(tmp_path / "run", step if kind is saving_began else round(step * 0.55)))
    kill_and_finish(tmp_path / "run", moments, undisturbed[0], cache)


def kill_and_finish(workdir: Path, moments: list, undisturbed: Path, cache: Path) -> None:
    """Starts a run, kills it at each of the moments and starts it again; then lets it end."""
    arguments = [*MAIN, *words(CONFIG), f"--workdir={workdir}"]
    for moment in moments:
        code, _, _ = run(arguments, cache, until=moment)
        assert code == -signal.SIGKILL
        assert "finished" not in (workdir / "metrics.jsonl").read_text()
    code, output, errors = run(arguments, cache)
    assert code == 0, errors
    assert errors == ""
    assert "resumed at step" in output
    processes.assert_same_run(workdir, undisturbed, CONFIG)
    assert_events_follow_the_record(workdir)


@pytest.mark.slow
def test_a_run_stopped_by_signals_says_so_and_goes_on_to_the_same_end(undisturbed, cache, tmp_path, capsys):
    workdir = tmp_path / "run"
    code, output, errors = run(
        [*MAIN, *words(CONFIG), f"--workdir={workdir}"], cache, until=lines_written(workdir, 3), number=signal.SIGTERM
    )
    assert code == 75
    first = steps_saved(workdir)[-1]
    assert errors == f"SIGTERM: saved a checkpoint at step {first}; run the same command again to resume\n"

    # The workdir alone is enough.
    code, output, errors = run(
        [*MAIN, f"--workdir={workdir}"], cache, until=lines_written(workdir, 12), number=signal.SIGINT
    )
    assert code == 130
    assert f"resumed at step {first}" in output.splitlines()
    second = steps_saved(workdir)[-1]
    assert second > first
    assert errors == f"SIGINT: saved a checkpoint at step {second}; run the same command again to resume\n"

    code, output, errors = run([*MAIN, f"--config={workdir / 'config.json'}", f"--workdir={workdir}"], cache)
    assert (code, errors) == (0, "")
    assert f"resumed at step {second}" in output.splitlines()
    processes.assert_same_run(workdir, undisturbed[0], CONFIG)


@pytest.mark.slow
def test_a_finished_run_is_left_alone(undisturbed, capsys):
    workdir = undisturbed[0]
    before = snapshot(workdir)
    assert start_in_process(CONFIG, workdir) == 0
    first, *summary = capsys.readouterr().out.splitlines()
    assert first == f"{workdir} is finished: all 40 steps are done"
    told = undisturbed[1].splitlines()
    started = next(number for number, line in enumerate(told) if line.startswith("  test error"))
    repeated = [line.split() for line in told[started:-4] if not line.startswith("  time")]
    assert [line.split() for line in summary[1:-3]] == repeated
    assert snapshot(workdir) == before


@pytest.mark.slow
def test_more_steps_go_on_with_a_finished_run_without_compiling_twice(undisturbed, tmp_path, monkeypatch, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed[0], workdir)
    experiments = []
    create = create_experiment

    def create_and_note(config, **_):
        experiments.append(create(config))
        return experiments[0]

    monkeypatch.setattr(loop, "create_experiment", create_and_note)
    assert start_in_process(processes.resumable(num_steps=46), workdir) == 0
    assert "resumed at step 40" in capsys.readouterr().out
    before, after = log_lines(undisturbed[0]), log_lines(workdir)
    assert after[: len(before) - 1] == before[:-1]
    new = after[len(before) - 1 :]
    assert [line["step"] for line in new] == [44, 45, 46, 46, 46, 46]
    assert new[-1] == {"step": 46, "finished": True}
    assert json.loads((workdir / "config.json").read_text())["num_steps"] == 46
    assert steps_saved(workdir)[-1] == 46
    # Logs, evaluations, the plateau and saves lay between the steps.
    assert experiments[0].steps.train_chunk._cache_size() == 1
    assert experiments[0].steps.eval_step._cache_size() == 1


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before_it_and_nothing_else(undisturbed, cache, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed[0], workdir)
    *lines, _ = (workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
    (workdir / "metrics.jsonl").write_text("".join(lines))
    previous, newest = steps_saved(workdir)[-2:]
    largest = max((workdir / "checkpoints" / str(newest)).rglob("*"), key=lambda path: path.stat().st_size)
    damaged = bytearray(largest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    largest.write_bytes(damaged)

    code, output, errors = run([*MAIN, f"--workdir={workdir}"], cache)
    assert (code, errors) == (0, "")
    said = [line for line in output.splitlines() if line.startswith(("warning: checkpoint", "resumed at"))]
    warning, resumed = said
    moved = workdir / SET_ASIDE / str(newest)
    assert warning.startswith(f"warning: checkpoint {newest} is damaged and was moved to {moved}: ")
    assert resumed == f"resumed at step {previous}"
    assert moved.is_dir()
    processes.assert_same_run(workdir, undisturbed[0], CONFIG)


@pytest.mark.slow
def test_a_run_with_another_config_is_refused_by_name_and_left_alone(undisturbed, capsys):
    workdir = undisturbed[0]
    before = snapshot(workdir)
    other = processes.resumable(optim__momentum=0.8, model__bn_group=2, seed=7)
    assert start_in_process(other, workdir) == 2
    errors = capsys.readouterr().err
    assert errors == (
        f"error: --workdir={workdir} has a run with another config: model.bn_group is 2, was None; "
        "optim.momentum is 0.8, was 0.9; seed is 7, was 0\n"
    )
    assert start_in_process(processes.resumable(num_steps=30), workdir) == 2
    assert f"num_steps=30, but the run in --workdir={workdir} has done 40" in capsys.readouterr().err
    assert snapshot(workdir) == before
    may_differ = {"num_steps": 50, "log__every_steps": 7, "eval__batch_size": 8, "checkpoint__keep": 5}
    assert check_workdir(workdir, processes.resumable(**may_differ))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run_and_reaches_no_checkpoint(on_one_device, tmp_path, capsys):
    config = tiny.config(
        schedule__name="constant", optim__learning_rate=1e30, log__every_steps=1, checkpoint__every_steps=1
    )
    assert start_in_process(config, tmp_path / "run") == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    # Which of the two is found first depends on rounding.
    found = r"error: (the loss is not finite at|parameters are not finite by) step 2 \(learning rate 1e\+30\); usual"
    assert re.match(found, errors)
    assert steps_saved(tmp_path / "run") == [1]
    leaves = processes.saved_leaves(tmp_path / "run", config)
    assert all(np.isfinite(leaf).all() for name, leaf in leaves.items() if name != "best_error")
    *before, last = log_lines(tmp_path / "run")
    assert all(line["step"] <= 1 for line in before)
    assert (last["step"], last["diverged"]) == (2, True)
    assert errors.endswith("; the last checkpoint is that of step 1\n")


@pytest.mark.slow
def test_a_run_whose_loss_is_not_finite_at_its_first_check_shows_what_it_has(on_one_device, tmp_path, capsys):
    config = tiny.config(schedule__name="constant", optim__learning_rate=1e30, log__every_steps=8)
    assert start_in_process(config, tmp_path / "run") == 1
    assert capsys.readouterr().err.endswith("bfloat16 overflow; no checkpoint was saved\n")
    (line,) = log_lines(tmp_path / "run")
    assert (line["train/loss"], line["diverged"]) == (None, True)
    assert 0 <= line["train/top1_error"] <= 100
    assert (tmp_path / "run" / "curves.png").exists()


@pytest.mark.slow
def test_a_loss_that_does_not_fall_stops_the_run_where_asked_to_look(on_one_device, tmp_path, capsys):
    config = tiny.config(
        num_steps=6,
        model__name="alexnet_cifar",
        schedule__name="constant",
        optim__learning_rate=1e-9,
        log__every_steps=2,
        guard__stuck_steps=3,
    )
    assert start_in_process(config, tmp_path / "run") == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert errors.startswith("error: after 4 steps the loss is 2.30")
    assert "constant prediction (2.3026); usual causes: too low" in errors
    assert "guard.stuck_steps" in errors
    assert [line["step"] for line in log_lines(tmp_path / "run")] == [2, 4]
    assert log_lines(tmp_path / "run")[-1]["stuck"]
