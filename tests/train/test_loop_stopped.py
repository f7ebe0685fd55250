"""Runs whose evaluations fail or are stopped lose no step and go on to the end of a run that nothing disturbed."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from resnet_alexnet.cli.early import EXIT_CODES
from resnet_alexnet.errors import InterruptedRunError, OutOfMemoryError, TrainingError
from resnet_alexnet.train import loop
from resnet_alexnet.train.checks import FailedCheckError
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import processes
from tests.support.processes import assert_same_run, log_lines, steps_saved

CONFIG = processes.resumable(num_steps=14, checkpoint__every_steps=10)  # evaluated at 5, 10 and 14, logged at 4, 8, 12


@pytest.fixture(scope="module")
def experiment():
    return create_experiment(CONFIG, jax.devices()[:1])


@pytest.fixture
def undisturbed(experiment, tmp_path_factory, monkeypatch) -> Path:
    """The folder of a run that nothing disturbed. After it, runs have the same compiled steps."""
    monkeypatch.setattr(loop, "create_experiment", lambda *_, **__: experiment)
    folder = tmp_path_factory.getbasetemp() / "never_stopped"
    if not folder.exists():
        loop.train_and_evaluate(CONFIG, folder)
    return folder


@pytest.fixture
def evaluate_with(experiment, monkeypatch):
    """Makes the function the evaluation step of the next run; it gets the number of the batch, from 1, and the step."""

    def replace(eval_step):
        count = iter(range(1, 100))
        steps = dataclasses.replace(
            experiment.steps,
            eval_step=lambda *given: eval_step(next(count), lambda: experiment.steps.eval_step(*given)),
        )
        changed = dataclasses.replace(experiment, steps=steps)
        monkeypatch.setattr(loop, "create_experiment", lambda *_, **__: changed)

    return replace


def finish(workdir: Path, experiment, monkeypatch, undisturbed: Path) -> None:
    """Resumes the run; it must end as the undisturbed one."""
    monkeypatch.setattr(loop, "create_experiment", lambda *_, **__: experiment)
    loop.train_and_evaluate(CONFIG, workdir)
    assert_same_run(workdir, undisturbed, CONFIG)


# The validation split has 20 images, so an evaluation has two batches of 16.
@pytest.mark.parametrize(("batch", "step"), [(1, 5), (3, 10), (5, 14)], ids=["not due to be saved", "due", "last"])
def test_an_evaluation_without_enough_memory_names_the_field_and_loses_no_step(
    undisturbed, experiment, evaluate_with, monkeypatch, tmp_path, batch, step
):
    saved_before = []

    def eval_step(number, evaluate):
        if number == batch:
            saved_before.extend(steps_saved(tmp_path / "run") if (tmp_path / "run" / "checkpoints").exists() else [])
            return {"count": jnp.zeros(2**46, jnp.float32)}  # XLA's own error
        return evaluate()

    evaluate_with(eval_step)
    with pytest.raises(OutOfMemoryError) as error:
        loop.train_and_evaluate(CONFIG, tmp_path / "run")
    assert str(error.value).startswith(
        "out of memory for an evaluation: lower eval.batch_size (now 16 images), as with --config.eval.batch_size=8 ("
    )
    assert (step in saved_before) == (step != 5)  # what was due is on disk before the evaluation
    assert steps_saved(tmp_path / "run")[-1] == step
    finish(tmp_path / "run", experiment, monkeypatch, undisturbed)


@pytest.mark.parametrize(
    ("batch", "step", "number"),
    [(2, 5, signal.SIGINT), (3, 10, signal.SIGTERM), (8, 14, signal.SIGINT)],
    ids=["validation", "saved", "test"],
)
def test_a_signal_during_an_evaluation_gives_it_up_and_saves(
    undisturbed, experiment, evaluate_with, monkeypatch, tmp_path, capsys, batch, step, number
):
    def eval_step(count, evaluate):
        if count == batch:
            os.kill(os.getpid(), number)
        assert count <= batch
        return evaluate()

    evaluate_with(eval_step)
    with pytest.raises(InterruptedRunError, match=rf"^{number.name}: saved a checkpoint at step {step}; run the same"):
        loop.train_and_evaluate(CONFIG, tmp_path / "run")
    assert f"{number.name}: giving up the evaluation, then saving" in capsys.readouterr().out
    assert (tmp_path / "run" / "curves.png").exists()
    last = log_lines(tmp_path / "run")[-1]
    assert (last["step"], last["stopped"]) == (step, True)
    assert ("train/loss" in last) == (step != 14), "after the last step they are logged already"
    finish(tmp_path / "run", experiment, monkeypatch, undisturbed)


def test_a_check_that_fails_where_all_is_logged_already_is_in_the_last_line_too(
    undisturbed, experiment, evaluate_with, monkeypatch, tmp_path
):
    """Such as that of the state which a stopped run is about to save."""

    def eval_step(number, evaluate):
        if number == 5:  # the first batch after step 14, whose metrics are logged
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate()

    def check_finite(state, learning_rate):
        if int(state.step) == 14 and not float(state.sums["count"]):
            raise FailedCheckError("parameters are not finite", "diverged")

    evaluate_with(eval_step)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "check_finite", check_finite)
        with pytest.raises(TrainingError, match=r"^parameters are not finite; the last checkpoint is that of step 14$"):
            loop.train_and_evaluate(CONFIG, tmp_path / "run")
    last = log_lines(tmp_path / "run")[-1]
    assert last == {"step": 14, "epoch": last["epoch"], "diverged": True}
    finish(tmp_path / "run", experiment, monkeypatch, undisturbed)


def test_a_run_that_stops_early_shows_its_loss_and_goes_on_to_the_same_lines(
    undisturbed, experiment, monkeypatch, tmp_path, capsys
):
    def train_chunk(state, data, chunk):
        if int(state.step) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return experiment.steps.train_chunk(state, data, chunk)

    changed = dataclasses.replace(experiment, steps=dataclasses.replace(experiment.steps, train_chunk=train_chunk))
    monkeypatch.setattr(loop, "create_experiment", lambda *_, **__: changed)
    with pytest.raises(
        InterruptedRunError, match=r"^SIGTERM: saved a checkpoint at step 3; run the same command again"
    ):
        loop.train_and_evaluate(CONFIG, tmp_path / "run")
    assert "\nSIGTERM: finishing " in capsys.readouterr().out
    (line,) = log_lines(tmp_path / "run")
    assert (line["step"], line["stopped"]) == (3, True)
    assert line["train/loss"] > 0
    assert (tmp_path / "run" / "curves.png").exists()
    finish(tmp_path / "run", experiment, monkeypatch, undisturbed)


class Breaking:
    """Standard output that fails from the line of a step on."""

    def __init__(self, stream, error: OSError):
        self.stream, self.error = stream, error

    def write(self, text):
        if text.startswith("step 4"):
            raise self.error
        return self.stream.write(text)

    def __getattr__(self, name):
        return getattr(self.stream, name)


@pytest.mark.parametrize(
    ("error", "code"),
    [(BrokenPipeError(errno.EPIPE, "Broken pipe"), 141), (OSError(errno.ENOSPC, "No space left on device"), 1)],
)
def test_output_that_breaks_stops_the_run_and_loses_no_step(
    undisturbed, experiment, monkeypatch, tmp_path, error, code
):
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Breaking(sys.stdout, error))
        with pytest.raises(InterruptedRunError) as stop:
            loop.train_and_evaluate(CONFIG, tmp_path / "run")
    (step,) = steps_saved(tmp_path / "run")
    assert step >= 4
    assert str(stop.value) == (
        f"standard output cannot be written ({error.strerror}): saved a checkpoint at step {step}; "
        "run the same command again to resume"
    )
    assert stop.value.exit_code == code
    finish(tmp_path / "run", experiment, monkeypatch, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_a_run_whose_output_is_gone_saves(tmp_path, tmp_path_factory, number):
    """As Ctrl-C does in a terminal, where it ends the reader of a pipe too."""
    workdir = tmp_path / "run"
    config = processes.resumable(
        num_steps=9000, log__every_steps=100, eval__every_steps=3000, checkpoint__every_steps=3000
    )
    arguments = [*processes.MAIN, *processes.words(config), f"--workdir={workdir}"]
    with processes.started(arguments, tmp_path_factory.getbasetemp() / "compiled") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("step 100/"):
                break
        process.stdout.close()
        process.send_signal(number)
        errors = process.stderr.read()
        assert process.wait(processes.SECONDS) == EXIT_CODES[number]
    (step,) = steps_saved(workdir)
    assert errors == f"{number.name}: saved a checkpoint at step {step}; run the same command again to resume\n"


@pytest.mark.parametrize("kept", ["the log", "validation", "test"])
def test_a_run_killed_between_its_last_checkpoint_and_its_end_goes_on(
    undisturbed, experiment, monkeypatch, tmp_path, kept
):
    """What a kill leaves: the checkpoint of step 14, and any of the lines that follow it."""
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed, workdir)
    lines = read_metrics(workdir / "metrics.jsonl")
    position = {"the log": -3, "validation": -2, "test": -1}[kept]
    text = "".join(json.dumps(line) + "\n" for line in lines[:position])
    (workdir / "metrics.jsonl").write_text(text + json.dumps(lines[position])[:20])  # the next line is torn
    finish(workdir, experiment, monkeypatch, undisturbed)
    assert log_lines(workdir)[-1] == {"step": 14, "finished": True}
