"""The training loop. Its order is a contract.

At each step's end, where its turn has come: log the training sums and check them; evaluate on the validation split,
step the plateau, note a new best; on the last step evaluate on the test split; save; stop if a signal asked for it.
All lines of a step are on disk before its checkpoint, so a run that is killed and resumed holds each line once.
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
from resnet_alexnet.train.start import begin, checkpoint_metadata, title
from resnet_alexnet.train.state import NEVER, TrainState
from resnet_alexnet.train.throughput import ThroughputMeter
from resnet_alexnet.train.validation import evaluate
from resnet_alexnet.workdir.checkpoint import Checkpointer
from resnet_alexnet.workdir.config import to_json
from resnet_alexnet.workdir.folder import check_workdir, create_workdir, last_checkpoint
from resnet_alexnet.workdir.metrics_log import METRICS_FILE, MetricsLog, read_metrics

STUCK_MARGIN = 0.005  # a loss within this fraction of a constant answer's has not begun to fall

CAUSES = "usual causes: too high a learning rate, no warm-up, wrong normalization or labels, bfloat16 overflow"


def train_and_evaluate(config: ConfigDict, workdir: Path, *, profile_calls: int = 0) -> None:
    """Trains what `config` describes in the run folder `workdir`, from the last checkpoint there if there is one.

    Args:
        config: the config.
        workdir: the run folder.
        profile_calls: dispatches of training steps to record a trace of, in `workdir`/profile.

    Raises:
        InputError: something in the config or the folder; then nothing has been written.
        TrainingError: the loss is not finite, or has not begun to fall; the last checkpoint stays good.
        InterruptedRunError: SIGTERM or Ctrl-C came; the state is saved.
    """
    started = time.monotonic()
    resumes = check_workdir(workdir, config)
    if resumes and _is_finished(workdir, config.num_steps):
        print(f"{workdir} is finished: all {config.num_steps} steps are done")
        return
    # What a fine-tuned run started from is not needed again: its own folder tells what the network is.
    weights = workdir if last_checkpoint(workdir) else None
    experiment = create_experiment(config, weights=weights, progress=progress_bar)
    if not resumes:
        create_workdir(workdir, config)
    with Interrupt() as interrupt, Checkpointer(workdir / "checkpoints", keep=config.checkpoint.keep) as checkpointer:
        state, messages = begin(experiment, config, checkpointer)
        first_step = int(state.step)
        if resumes:  # only now: the data may turn out to be another
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
            if lines:  # none where somebody removed the record of a run that is over
                curves.draw(lines, workdir / "curves.png", title=title(config))
            metrics_log.finish(config.num_steps)  # last of all: a finished run lacks nothing
    print_summary(title(config), _summary(config, lines, workdir, time.monotonic() - started))


@dataclasses.dataclass
class _Run:
    """The loop and what it writes to."""

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
            jax.transfer_guard("disallow"),  # between records nothing is read back, and only batches are sent
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
        """What is due once `step` steps are done, in the order that this module states."""
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
                self._record(step, _prefixed("test", self._evaluate(state, self.experiment.inputs.splits.test)))
            if save_due:
                metadata = {"config": to_json(config), **checkpoint_metadata(self.experiment)}
                self.checkpointer.save(step, state, metadata, error=error)
            if stop and not last:
                self._stop(step)
            meter.restart()
            return state

    def _log(self, state: TrainState, step: int, meter: ThroughputMeter) -> TrainState:
        """Records the training metrics since the last log and empties their sums."""
        rates = metrics.error_rates(jax.device_get(state.sums))
        learning_rate = self._learning_rate(state, step - 1)
        self._check_falling(rates["loss"], step)
        values = {**_prefixed("train", rates), "learning_rate": learning_rate}
        speed = meter.rates()
        if speed is not None and self.experiment.steps.resident:
            values["images_per_second"] = speed.images_per_second
        elif speed is not None:
            values |= dataclasses.asdict(speed)
        self._record(step, values)
        zeros = jax.tree.map(jnp.zeros_like, state.sums)
        return state.replace(sums=parallel.replicate(zeros, self.experiment.mesh))

    def _validate(self, state: TrainState, step: int) -> tuple[TrainState, float, bool]:
        """Evaluates on the validation split, steps the plateau; returns the error in percent and whether it is best."""
        assert self.experiment.inputs.splits.validation is not None
        rates = self._evaluate(state, self.experiment.inputs.splits.validation)
        self._record(step, _prefixed("val", rates))
        error = jnp.float32(rates["top1_error"])
        best = bool(error < state.best_error)
        plateau, opt_state = self.experiment.optimizer.plateau, state.opt_state
        # Not for an evaluation that is there only because the run ends: a longer run would not have had it.
        if plateau is not None and _due(step, self.config.eval.every_steps):
            opt_state = plateau.step(opt_state, error)
        state = state.replace(opt_state=opt_state, best_error=jnp.minimum(error, state.best_error))
        return parallel.replicate(state, self.experiment.mesh), float(error), best

    def _evaluate(self, state: TrainState, source: Source) -> dict[str, float]:
        experiment = self.experiment
        batch_size, mesh = experiment.steps.eval_batch_size, experiment.mesh
        return evaluate(experiment.steps.eval_step, *state.evaluated(), source, batch_size=batch_size, mesh=mesh)

    def _record(self, step: int, values: dict[str, float]) -> None:
        values = {"epoch": step * self.config.batch_size / len(self.experiment.inputs.splits.train), **values}
        self.metrics_log.write(step, values)
        self.progress.update(step, values)

    def _learning_rate(self, state: TrainState, step: int) -> float:
        """The rate of the update that counted `step` updates before it."""
        return float(jnp.asarray(current_learning_rate(state.opt_state, self.experiment.optimizer.schedule(step))))

    def _check_finite(self, state: TrainState) -> None:
        bad = int(state.nonfinite_step)
        if bad == NEVER and not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params)):
            bad = int(state.step) - 1
        if bad != NEVER:
            rate = self._learning_rate(state, bad)
            raise TrainingError(f"the loss is not finite at step {bad} (learning rate {rate:g}); {CAUSES}")

    def _check_falling(self, loss: float, step: int) -> None:
        after, chance = self.config.guard.stuck_steps, self.experiment.chance_loss
        first_look = after and after <= step < after + self.config.log.every_steps
        if first_look and abs(loss - chance) < STUCK_MARGIN * chance:
            raise TrainingError(
                f"after {step} steps the loss is {loss:.4f}, still that of a constant answer ({chance:.4f}); usual "
                "causes: too low or too high a learning rate, too small initial weights, labels that do not belong to "
                "the images (guard.stuck_steps says when to look, 0 never)"
            )

    def _stop(self, step: int) -> None:
        self.checkpointer.wait()
        assert self.interrupt.signal is not None
        raise InterruptedRunError(
            f"{self.interrupt.signal.name}: saved at step {step}; the same command goes on from there",
            self.interrupt.exit_code,
        )


def _due(step: int, every_steps: int) -> bool:
    return every_steps > 0 and step % every_steps == 0


def _prefixed(split: str, rates: dict[str, float]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in rates.items()}


def _is_finished(workdir: Path, num_steps: int) -> bool:
    path = workdir / METRICS_FILE
    lines = read_metrics(path) if path.exists() else []
    return bool(lines) and lines[-1].get("finished", False) and lines[-1]["step"] >= num_steps


def _summary(
    config: ConfigDict, lines: list[dict[str, Any]], workdir: Path, seconds: float
) -> list[tuple[str, object]]:
    """The end of the run in a few rows."""
    rows: list[tuple[str, object]] = []
    for split, name in (("test", "test error"), ("val", "validation error"), ("train", "training error")):
        values = [line[f"{split}/top1_error"] for line in lines if f"{split}/top1_error" in line]
        if values:
            best = f" (best {min(values):.2f} %)" if split == "val" else ""
            rows.append((name, f"{values[-1]:.2f} %{best}"))
    speeds = sorted(line["images_per_second"] for line in lines if line.get("images_per_second"))
    if speeds:
        rows.append(("training speed", f"{speeds[len(speeds) // 2]:,.0f} images/s"))
    rows.append(("time", f"{seconds:.0f} s"))
    rows.append(("run folder", f"{workdir} (metrics.jsonl, curves.png, checkpoints, events)"))
    return rows
