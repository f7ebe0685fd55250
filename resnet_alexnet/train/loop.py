"""The training loop. Its order is a contract.

At the end of each step, whichever of these are due: log the training metrics and check them; evaluate on the
validation split, step the plateau, note a new best; on the last step, evaluate on the test split; save a checkpoint;
stop if a signal asked for it. All lines of a step are on disk before its checkpoint, so a run that is killed and
resumed logs each line once.
"""

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from resnet_alexnet import metrics, parallel
from resnet_alexnet.cli.interrupt import Interrupt
from resnet_alexnet.cli.progress import Progress, print_summary, progress_bar
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.sources import Source
from resnet_alexnet.errors import InterruptedRunError, TrainingError
from resnet_alexnet.optim.schedules import current_learning_rate
from resnet_alexnet.plots import curves
from resnet_alexnet.train.experiment import Experiment, create_experiment, resident_data
from resnet_alexnet.train.profile import Profile
from resnet_alexnet.train.start import checkpoint_metadata, run_title, start_run
from resnet_alexnet.train.state import NEVER, TrainState
from resnet_alexnet.train.throughput import ThroughputMeter
from resnet_alexnet.train.validation import evaluate
from resnet_alexnet.workdir.checkpoint import Checkpointer
from resnet_alexnet.workdir.config import to_json
from resnet_alexnet.workdir.folder import check_workdir, create_workdir, last_checkpoint
from resnet_alexnet.workdir.metrics_log import METRICS_FILE, MetricsLog, read_metrics

STUCK_MARGIN = 0.005  # a loss within this fraction of the constant prediction's has not begun to fall

CAUSES = "usual causes: too high a learning rate, no warm-up, wrong normalization or labels, bfloat16 overflow"


def train_and_evaluate(config: ConfigDict, workdir: Path, *, profile_calls: int = 0) -> None:
    """Trains the network of `config` in the run folder `workdir`; resumes from its last checkpoint, if there is one.

    Args:
        config: the config.
        workdir: the run folder.
        profile_calls: how many dispatches of training steps to trace, into `workdir`/profile.

    Raises:
        InputError: the config or the run folder is not valid. Nothing has been written.
        TrainingError: the loss is not finite, or has not begun to fall. The last checkpoint stays valid.
        InterruptedRunError: SIGTERM or Ctrl-C arrived. A checkpoint has been saved.
    """
    started = time.monotonic()
    resumes = check_workdir(workdir, config)
    if resumes and _is_finished(workdir, config.num_steps):
        print(f"{workdir} is finished: all {config.num_steps} steps are done")
        return
    # A resumed run reads its own checkpoint, not finetune.weights, which may be gone.
    weights = workdir if last_checkpoint(workdir) else None
    experiment = create_experiment(config, weights=weights, progress=progress_bar)
    if not resumes:
        create_workdir(workdir, config)
    with Interrupt() as interrupt, Checkpointer(workdir / "checkpoints", keep=config.checkpoint.keep) as checkpointer:
        state, messages = start_run(experiment, config, checkpointer)
        first_step = int(state.step)
        if resumes:  # only after start_run has checked that the data is the same
            create_workdir(workdir, config)
        with (
            MetricsLog(workdir, start_step=first_step) as metrics_log,
            Progress(config.num_steps, first_step) as progress,
        ):
            for message in messages:
                progress.say(message)
            run = _Run(config, experiment, checkpointer, metrics_log, progress, interrupt)
            with Profile(workdir / "profile", profile_calls) as profile:
                run.train(state, first_step, profile)
            checkpointer.wait()
            lines = read_metrics(workdir / METRICS_FILE)
            if lines:  # empty if somebody deleted the metrics of a run whose steps are all done
                curves.draw(lines, workdir / "curves.png", title=run_title(config))
            metrics_log.finish(config.num_steps)  # last, so that a run marked as finished is complete
    print_summary(run_title(config), _summary(config, lines, workdir, time.monotonic() - started))


@dataclasses.dataclass
class _Run:
    """The loop and its outputs."""

    config: ConfigDict
    experiment: Experiment
    checkpointer: Checkpointer
    metrics_log: MetricsLog
    progress: Progress
    interrupt: Interrupt

    def train(self, state: TrainState, first_step: int, profile: Profile) -> None:
        """Trains from step `first_step` to config.num_steps."""
        config, experiment = self.config, self.experiment
        source, mesh = experiment.inputs.splits.train, experiment.mesh
        chunks = loader.train_chunks(
            source,
            batch_size=config.batch_size,
            seed=config.seed,
            start_step=first_step,
            num_steps=config.num_steps,
            steps_per_call=experiment.steps.steps_per_call,
            boundaries=(config.log.every_steps, config.eval.every_steps, config.checkpoint.every_steps),
            rows=parallel.process_rows(config.batch_size),
            resident=experiment.steps.resident,
            workers=config.dataset.workers,
            max_unreadable=config.dataset.max_unreadable,
            report=self.progress.say,
        )
        data = parallel.replicate(resident_data(source), mesh) if experiment.steps.resident else {}
        with (
            ThroughputMeter(config.batch_size, first_step) as meter,
            contextlib.closing(chunks),
            jax.transfer_guard("disallow"),  # between log steps only batches move, from host to device
        ):
            for step, chunk in chunks:
                batch = parallel.split_batch(chunk, mesh, axis=1)
                meter.begin_step()
                profile.begin_call()
                state, done = experiment.steps.train_chunk(state, data, batch)
                meter.end_step(step, done)
                profile.end_call(done)
                self.progress.advance(step)
                state = self._end_step(state, step, meter)

    def _end_step(self, state: TrainState, step: int, meter: ThroughputMeter) -> TrainState:
        """Does what is due after `step` steps, in the order that the module's docstring states."""
        config, last, stop = self.config, step == self.config.num_steps, self.interrupt.signal is not None
        log_due = last or _due(step, config.log.every_steps)
        eval_due = last or _due(step, config.eval.every_steps)
        save_due = last or stop or _due(step, config.checkpoint.every_steps)
        if not (log_due or eval_due or save_due):
            return state
        with jax.transfer_guard("allow"):
            self._check_finite(state)
            error = None
            if log_due:
                state = self._log(state, step, meter)
            if eval_due and self.experiment.inputs.splits.validation is not None:
                state, error, best = self._validate(state, step)
                save_due = save_due or best
            if last and self.experiment.inputs.splits.test is not None:
                self._write(step, _prefixed("test", self._evaluate(state, self.experiment.inputs.splits.test)))
            if save_due:
                metadata = {"config": to_json(config), **checkpoint_metadata(self.experiment)}
                self.checkpointer.save(step, state, metadata, error=error)
            if stop and not last:
                self._stop(step)
            meter.restart()
            return state

    def _log(self, state: TrainState, step: int, meter: ThroughputMeter) -> TrainState:
        """Writes the training metrics since the last log and resets their sums."""
        train_metrics = metrics.error_rates(jax.device_get(state.sums))
        learning_rate = self._learning_rate(state, step - 1)
        self._check_falling(train_metrics["loss"], step)
        values = {**_prefixed("train", train_metrics), "learning_rate": learning_rate}
        throughput = meter.measure()
        if throughput is not None and self.experiment.steps.resident:
            values["images_per_second"] = throughput.images_per_second
        elif throughput is not None:
            values |= dataclasses.asdict(throughput)
        self._write(step, values)
        zeros = jax.tree.map(jnp.zeros_like, state.sums)
        return state.replace(sums=parallel.replicate(zeros, self.experiment.mesh))

    def _validate(self, state: TrainState, step: int) -> tuple[TrainState, float, bool]:
        """Evaluates on the validation split and steps the plateau.

        Returns:
            The new state, the top-1 error in percent, and whether it is the lowest so far.
        """
        assert self.experiment.inputs.splits.validation is not None
        values = self._evaluate(state, self.experiment.inputs.splits.validation)
        self._write(step, _prefixed("val", values))
        error = jnp.float32(values["top1_error"])
        best = bool(error < state.best_error)
        plateau, opt_state = self.experiment.optimizer.plateau, state.opt_state
        # An evaluation that is due only because the run ends does not count: a longer run would not have it.
        if plateau is not None and _due(step, self.config.eval.every_steps):
            opt_state = plateau.step(opt_state, error)
        state = state.replace(opt_state=opt_state, best_error=jnp.minimum(error, state.best_error))
        return parallel.replicate(state, self.experiment.mesh), float(error), best

    def _evaluate(self, state: TrainState, source: Source) -> dict[str, float]:
        experiment = self.experiment
        batch_size, mesh = experiment.steps.eval_batch_size, experiment.mesh
        return evaluate(experiment.steps.eval_step, *state.evaluated(), source, batch_size=batch_size, mesh=mesh)

    def _write(self, step: int, values: dict[str, float]) -> None:
        values = {"epoch": step * self.config.batch_size / len(self.experiment.inputs.splits.train), **values}
        self.metrics_log.write(step, values)
        self.progress.update(step, values)

    def _learning_rate(self, state: TrainState, step: int) -> float:
        """The learning rate of the update that follows `step` updates."""
        return float(jnp.asarray(current_learning_rate(state.opt_state, self.experiment.optimizer.schedule(step))))

    def _check_finite(self, state: TrainState) -> None:
        bad = int(state.nonfinite_step)
        if bad == NEVER and not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params)):
            bad = int(state.step) - 1
        if bad != NEVER:
            learning_rate = self._learning_rate(state, bad)
            raise TrainingError(f"the loss is not finite at step {bad} (learning rate {learning_rate:g}); {CAUSES}")

    def _check_falling(self, loss: float, step: int) -> None:
        after, chance = self.config.guard.stuck_steps, self.experiment.chance_loss
        check_due = after and after <= step < after + self.config.log.every_steps
        if check_due and abs(loss - chance) < STUCK_MARGIN * chance:
            raise TrainingError(
                f"after {step} steps the loss is {loss:.4f}, no better than a constant prediction ({chance:.4f}); "
                "usual causes: too low or too high a learning rate, too small initial weights, labels that do not "
                "belong to the images (guard.stuck_steps sets the step of this check; 0 turns it off)"
            )

    def _stop(self, step: int) -> None:
        self.checkpointer.wait()
        assert self.interrupt.signal is not None
        raise InterruptedRunError(
            f"{self.interrupt.signal.name}: saved a checkpoint at step {step}; run the same command again to resume",
            self.interrupt.exit_code,
        )


def _due(step: int, every_steps: int) -> bool:
    return every_steps > 0 and step % every_steps == 0


def _prefixed(split: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in values.items()}


def _is_finished(workdir: Path, num_steps: int) -> bool:
    path = workdir / METRICS_FILE
    lines = read_metrics(path) if path.exists() else []
    return bool(lines) and lines[-1].get("finished", False) and lines[-1]["step"] >= num_steps


def _summary(
    config: ConfigDict, lines: list[dict[str, Any]], workdir: Path, seconds: float
) -> list[tuple[str, object]]:
    """The rows of the summary that is printed when the run ends: (name, value)."""
    rows: list[tuple[str, object]] = []
    for split, name in (("test", "test error"), ("val", "validation error"), ("train", "training error")):
        values = [line[f"{split}/top1_error"] for line in lines if f"{split}/top1_error" in line]
        if values:
            best = f" (best {min(values):.2f} %)" if split == "val" else ""
            rows.append((name, f"{values[-1]:.2f} %{best}"))
    throughputs = sorted(line["images_per_second"] for line in lines if line.get("images_per_second"))
    if throughputs:
        rows.append(("training throughput", f"{throughputs[len(throughputs) // 2]:,.0f} images/s"))
    rows.append(("time", f"{seconds:.0f} s"))
    rows.append(("run folder", f"{workdir} (metrics.jsonl, curves.png, checkpoints, events)"))
    return rows
