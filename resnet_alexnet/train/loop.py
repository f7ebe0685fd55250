"""The training loop. Its order is a contract.

At the end of each step, whichever of these are due: log the training metrics and check them; save a checkpoint; stop if
a signal asked for it; evaluate on the validation split, step the plateau, save a new best; on the last step, evaluate
on the test split. A checkpoint holds the state before the evaluation of its step. A run that resumes from it takes the
error from metrics.jsonl, or evaluates if it is not there. So a run that is killed and resumed logs each line once.
"""

import contextlib
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from ml_collections import ConfigDict

from resnet_alexnet import parallel
from resnet_alexnet.cli.progress import progress_bar
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.sources import Source
from resnet_alexnet.errors import OutOfMemoryError, TrainingError, memory_needed
from resnet_alexnet.optim.schedules import current_learning_rate
from resnet_alexnet.parallel import hosts
from resnet_alexnet.train import stopping
from resnet_alexnet.train.checks import FailedCheckError, check_falling, check_finite
from resnet_alexnet.train.clock import RunClock
from resnet_alexnet.train.experiment import Experiment, create_experiment, resident_data
from resnet_alexnet.train.profile import Profile
from resnet_alexnet.train.records import Records, open_records, prefixed, training_values
from resnet_alexnet.train.report import describe_data, is_finished, print_end
from resnet_alexnet.train.start import checkpoint_metadata, start_run
from resnet_alexnet.train.state import TrainState
from resnet_alexnet.train.team import Team, joined
from resnet_alexnet.train.throughput import STEPS_IN_FLIGHT, STEPS_IN_FLIGHT_ON_CPU, ThroughputMeter
from resnet_alexnet.train.validation import evaluate, with_error
from resnet_alexnet.workdir.checkpoint import Checkpointer
from resnet_alexnet.workdir.config import run_title, to_json
from resnet_alexnet.workdir.folder import check_workdir, create_workdir, last_checkpoint
from resnet_alexnet.workdir.goodput import STOPPED
from resnet_alexnet.workdir.metrics_log import TEST_ERROR, VAL_ERROR, validation_errors


def train_and_evaluate(
    config: ConfigDict, workdir: Path, *, profile_calls: int = 0, processes: hosts.Processes | None = None
) -> None:
    """Trains the network of `config` in the run folder `workdir`; resumes from its last checkpoint, if there is one.

    Args:
        config: the config.
        workdir: the run folder.
        profile_calls: how many dispatches of training steps to trace, into `workdir`/profile.
        processes: the processes that train together, each of which calls this; None for one alone.

    Raises:
        InputError: the config or the run folder is not valid, or another process trains in it. Nothing is written.
        TrainingError: the loss is not finite, or has not begun to fall, or memory does not suffice. The last checkpoint
            stays valid.
        InterruptedRunError: a signal arrived, or standard output cannot be written. A checkpoint has been saved.
    """
    with RunClock() as clock, joined(processes, config, workdir) as team, team.locked(workdir):
        _train_in(workdir, config, profile_calls, clock, team)


def _train_in(workdir: Path, config: ConfigDict, profile_calls: int, clock: RunClock, team: Team) -> None:
    """Does what `train_and_evaluate` says, in a run folder that no other run uses."""
    with team.agreeing():
        resumes = check_workdir(workdir, config)
    if resumes and is_finished(workdir, config.num_steps, test=config.eval.test):
        print(f"{workdir} is finished: all {config.num_steps} steps are done")
        print_end(run_title(config), workdir)
        return
    # A resumed run reads its own checkpoint, not finetune.weights, which may be gone.
    weights = workdir if last_checkpoint(workdir) else None
    with team.agreeing(), memory_needed("for the data", "set dataset.in_memory='no', or use fewer images"):
        experiment = create_experiment(config, weights=weights, progress=progress_bar)
    with team.agreeing():
        team.check_same(checkpoint_metadata(experiment)["num_images"])
        if team.writes and not resumes:
            create_workdir(workdir, config)
    about = describe_data(experiment.inputs.splits, config.dataset)
    print("\n".join([f"{run_title(config)}: run folder {workdir}", *about]), flush=True)
    with Checkpointer(
        workdir / "checkpoints", keep=config.checkpoint.keep, errors=validation_errors(workdir), lowest=team.lowest
    ) as checkpointer:
        with team.agreeing():
            state, messages, saved = start_run(experiment, config, checkpointer)
        first_step = int(state.step)
        if resumes and team.writes:  # only after start_run has checked that the data is the same
            create_workdir(workdir, config)
        with open_records(config, workdir, experiment.inputs.splits.train, first_step, team, clock) as records:
            for message in messages:
                records.progress.say(message)
            run = Run(config, workdir, experiment, checkpointer, records, team, first_step, clock)
            with (
                Profile(workdir / "profile", profile_calls if team.writes else 0) as profile,
                team.collective(lambda: stopping.kept(last_checkpoint(workdir))),
            ):
                run.train(state, saved, profile)
            checkpointer.wait()
            records.finish(config.num_steps)  # last, so that a run marked as finished is complete
    if team.writes:
        print_end(run_title(config), workdir, seconds=clock.elapsed())


class Run:
    """The loop and its outputs."""

    def __init__(
        self,
        config: ConfigDict,
        workdir: Path,
        experiment: Experiment,
        checkpointer: Checkpointer,
        records: Records,
        team: Team,
        first_step: int,
        clock: RunClock,
    ) -> None:
        """Prepares; `first_step` is the number of steps done before."""
        self.config, self.workdir, self.experiment = config, workdir, experiment
        self.checkpointer, self.records, self.team = checkpointer, records, team
        self.first_step, self.clock = first_step, clock
        on_cpu = experiment.mesh.devices.flat[0].platform == "cpu"
        self.watchdog = team.watchdog(first_step)
        self.meter = ThroughputMeter(
            config.batch_size,
            first_step,
            in_flight=STEPS_IN_FLIGHT_ON_CPU if on_cpu else STEPS_IN_FLIGHT,
            report=self._finished,
        )
        schedule = experiment.optimizer.schedule  # jitted: one program is compiled sooner than one for each operation
        self._jitted_rate = jax.jit(lambda opt_state, step: current_learning_rate(opt_state, schedule(step)))
        clock.watch_steps(lambda: self.meter.busy_seconds, resident=experiment.steps.resident)
        self.stop = team.stop(self._answer, lambda: stopping.left(last_checkpoint(workdir)), records.progress.output)
        self._evaluates = self._dispatches = False  # what is under way
        self._any_done = first_step > 0  # or under way

    def train(self, state: TrainState, saved: dict[str, Any], profile: Profile) -> None:
        """Trains to config.num_steps, from the state of a checkpoint with the metadata `saved` or from the first."""
        config, experiment, step = self.config, self.experiment, self.first_step
        source, mesh = experiment.inputs.splits.train, experiment.mesh
        chunks = loader.train_chunks(
            source,
            batch_size=config.batch_size,
            seed=config.seed,
            start_step=step,
            num_steps=config.num_steps,
            steps_per_call=experiment.steps.steps_per_call,
            boundaries=(config.log.every_steps, config.eval.every_steps, config.checkpoint.every_steps),
            rows=parallel.process_rows(config.batch_size, mesh),
            resident=experiment.steps.resident,
            workers=config.dataset.workers,
            max_unreadable=config.dataset.max_unreadable,
            report=self.records.progress.say,
        )
        with (
            self.stop.interrupt,
            self.watchdog,
            memory_needed(
                "for a training step",
                f"raise accumulate_steps (now {config.accumulate_steps}), or in a new run lower batch_size",
            ),
            self.meter,
            contextlib.closing(chunks),
        ):
            if saved:
                state = self._resume(state, saved)
            data = parallel.replicate(resident_data(source), mesh) if experiment.steps.resident else {}
            self.clock.switch("steps")
            with jax.transfer_guard("disallow"):  # between log steps only batches move, from host to device
                for next_step, chunk in chunks:
                    batch = parallel.split_batch(chunk, mesh, axis=1)
                    self.meter.begin_step()
                    if self.stop.reached():
                        self._stop(state, step)
                    profile.begin_call()
                    self._dispatches = self._any_done = True
                    state, done = experiment.steps.train_chunk(state, data, batch)
                    step = next_step
                    self.meter.end_step(step, done)
                    self._dispatches = False
                    profile.end_call(done)
                    state = self._end_step(state, step)

    def _end_step(self, state: TrainState, step: int) -> TrainState:
        """Does what is due after `step` steps, in the order that the module's docstring states."""
        config, last = self.config, step == self.config.num_steps
        log_due = last or _due(step, config.log.every_steps)
        eval_due = last or _due(step, config.eval.every_steps)
        save_due = last or _due(step, config.checkpoint.every_steps)
        if not (log_due or eval_due or save_due):
            return state
        self.meter.wait()
        with jax.transfer_guard("allow"), self.watchdog.slow(), self.clock.during("other"):
            with self._failing(state, step):
                check_finite(state, partial(self._learning_rate, state))
            if log_due:
                state = self._log(state, step)
            if save_due:
                self._save(state, step)
            if eval_due:
                state = self._evaluate(state, step)
            self.meter.restart()
            return state

    def _log(self, state: TrainState, step: int) -> TrainState:
        """Writes the training metrics since the last log and resets their sums."""
        values = self._training_values(state, step)
        guard, every_steps = self.config.guard, self.config.log.every_steps
        if guard.stuck_steps and guard.stuck_steps <= step < guard.stuck_steps + every_steps:
            with self._failing(state, step):
                check_falling(values["train/loss"], self.experiment.chance_loss, step)
        self.records.write(step, values)
        zeros = jax.tree.map(lambda total: np.zeros(total.shape, total.dtype), state.sums)
        return state.replace(sums=parallel.replicate(zeros, self.experiment.mesh))

    @contextlib.contextmanager
    def _failing(self, state: TrainState, step: int) -> Iterator[None]:
        """If a check in the block fails, writes that and what led to it, and names the last checkpoint in its error."""
        try:
            yield
        except FailedCheckError as error:
            self.records.write(step, self._training_values(state, step), end=error.end)
            self.records.draw_curves()
            self.checkpointer.wait()
            raise TrainingError(f"{error}; {stopping.kept(last_checkpoint(self.workdir))}") from None

    def _training_values(self, state: TrainState, step: int) -> dict[str, float]:
        """The training metrics since the last log; empty if there is no step since."""
        learning_rate, throughput = self._learning_rate(state, step - 1), self.meter.measure()
        return training_values(state.sums, learning_rate, throughput, resident=self.experiment.steps.resident)

    def _save(self, state: TrainState, step: int) -> None:
        """Saves a checkpoint of the state before the evaluation of its step, unless the step is saved."""
        metadata = {"config": to_json(self.config), **checkpoint_metadata(self.experiment)}
        with self.clock.during("save"):
            self.checkpointer.save(step, state, metadata)

    def _resume(self, state: TrainState, saved: dict[str, Any]) -> TrainState:
        """Does what was due after the checkpoint of the first step was saved, with its metadata `saved`.

        The errors that are in metrics.jsonl are taken from there. The splits that are not are evaluated.
        """
        step, errors = self.first_step, {}
        for line in self.records.lines:
            if line["step"] == step:
                errors |= {key: line[key] for key in (VAL_ERROR, TEST_ERROR) if key in line}
        if VAL_ERROR in errors:
            counts = _due(step, saved["config"]["eval"]["every_steps"])
            state = self._with_error(state, step, errors[VAL_ERROR], counts=counts)
        if step == self.config.num_steps or _due(step, self.config.eval.every_steps):
            state = self._evaluate(state, step, done=errors.keys())
        return state

    def _evaluate(self, state: TrainState, step: int, *, done: Collection[str] = ()) -> TrainState:
        """Evaluates on the validation split and, after the last step, on the test split, except if it is done.

        Returns:
            The state after it: the plateau and the lowest error have changed.
        """
        splits, before = self.experiment.inputs.splits, state
        with self.clock.during("save"):
            self.checkpointer.wait()  # what is due is on disk before an evaluation that may fail
        try:
            if splits.validation is not None and VAL_ERROR not in done:
                values = self._measure(state, splits.validation, "validation")
                self.records.write(step, prefixed("val", values))
                state = self._with_error(
                    state, step, values["top1_error"], counts=_due(step, self.config.eval.every_steps)
                )
                if state.best_error < before.best_error:
                    self._save(before, step)
            if step == self.config.num_steps and splits.test is not None and TEST_ERROR not in done:
                self.records.write(step, prefixed("test", self._measure(state, splits.test, "test")))
        except KeyboardInterrupt:
            self._stop(before, step)
        except OutOfMemoryError:
            self._save(before, step)
            raise
        self.records.update_curves(last=step == self.config.num_steps)
        return state

    def _measure(self, state: TrainState, source: Source, name: str) -> dict[str, float]:
        """The metrics of a split. A signal raises KeyboardInterrupt."""
        experiment = self.experiment
        size = min(experiment.steps.eval_batch_size, len(source))
        remedy = f"lower eval.batch_size (now {size} images), as with --config.eval.batch_size={max(1, size // 2)}"
        self._evaluates = True
        with memory_needed("for an evaluation", remedy), self.stop.raised(), self.clock.during("evaluation"):
            values = evaluate(
                experiment.steps.eval_step,
                *state.evaluated(),
                source,
                batch_size=size,
                mesh=experiment.mesh,
                progress=self._follow,
                name=name,
            )
        self._evaluates = False
        return values

    def _with_error(self, state: TrainState, step: int, top1_error: float, *, counts: bool) -> TrainState:
        """The state after an evaluation with this validation error; `counts`: whether the plateau counts it."""
        self.checkpointer.note_error(step, top1_error)
        plateau = self.experiment.optimizer.plateau if counts else None
        state = with_error(state, top1_error, plateau)
        return parallel.shard(state, self.experiment.mesh, self.experiment.steps.state_specs)

    def _learning_rate(self, state: TrainState, step: int) -> float:
        """The learning rate of the update that follows `step` updates."""
        return float(self._jitted_rate(state.opt_state, step))

    def _finished(self, step: int) -> None:
        """Tells that `step` steps are finished; from the thread that waits for them."""
        self.records.progress.advance(step)
        self.watchdog.step(step)

    def _follow(self, items: Iterable, length: int, description: str, *, size: Callable[[Any], int]) -> Iterator:
        """Passes the results of an evaluation on, shows how many are done, and stops if all processes are to."""
        for item in self.records.progress.follow(items, length, description, size=size):
            self.watchdog.beat()
            self.stop.raise_if_reached()
            yield item

    def _answer(self, number: signal.Signals) -> None:
        """Says at once what the first signal leads to."""
        steps = self.meter.pending or int(self._dispatches)  # a dispatch may compile for a minute
        said = stopping.answer(number, steps=steps, evaluates=self._evaluates, any_done=self._any_done)
        self.records.progress.say(said)

    def _stop(self, state: TrainState, step: int) -> NoReturn:
        """Saves the state after `step` steps, before their evaluation, with the metrics so far, and ends the run."""
        if step:
            self.meter.wait()
            with jax.transfer_guard("allow"), self.watchdog.slow():
                with self._failing(state, step):
                    check_finite(state, partial(self._learning_rate, state))
                values = self._training_values(state, step)
                self._save(state, step)
                self.checkpointer.wait()
                self.records.write(step, values, end=STOPPED)
            self.records.draw_curves()
        raise self.stop.stopped(step)


def _due(step: int, every_steps: int) -> bool:
    return every_steps > 0 and step % every_steps == 0
