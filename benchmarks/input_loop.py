"""The training loop's side of benchmarks/input.py: the images alone, the step alone, and both in the loop.

Two devices. "stand_in" takes a given time for each step and none of the CPU's, as an accelerator does: what is
measured is the loop itself, the loader, the host's part of a step and the bound on steps in flight. "real" is the
package's own training step of a small network on jax's device. Where that is the CPU, step and input get cores of their
own, because on shared ones the sum of their times is all that a loop can reach.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from input_ours import AREA, ASPECT, loader_batches
from serve import Run, serve

from resnet_alexnet import parallel
from resnet_alexnet.data.readers.image_folder import read_image_folder
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.throughput import Result, ThroughputMeter
from resnet_alexnet.workdir.config import load_config

DEFAULTS = Path(__file__).parents[1] / "configs" / "default.py"
MODEL = "cifar_resnet8"
LEAD_IN = 16  # steps: more than what is read ahead and in flight
Step = Callable[[Any], Result]  # dispatches the step on a batch


@dataclass(frozen=True)
class Timed:
    """A step of any device, whose end is noted."""

    step: Result
    ends: list[float]

    def block_until_ready(self) -> None:
        """Returns when it is over."""
        self.step.block_until_ready()
        self.ends.append(time.monotonic())


@dataclass(frozen=True)
class Done:
    """A step of the stand-in: over at a time on the monotonic clock."""

    at: float

    def block_until_ready(self) -> None:
        """Returns at that time."""
        time.sleep(max(0.0, self.at - time.monotonic()))


def create(
    kind: str,
    device: str,
    folder: str,
    size: int,
    batch_size: int,
    workers: int,
    input_cores: Sequence[int],
    step_seconds: float = 0.0,
) -> tuple[Run, dict[str, Any]]:
    """The line `kind`, "input", "step" or "loop", on the `device` "stand_in" or "real"."""
    about = {"versions": {"jax": jax.__version__}, "device": jax.devices()[0].device_kind}
    if kind == "input":
        step = None
    else:
        step = stand_in(step_seconds) if device == "stand_in" else real_step(folder, size, batch_size)
    # From here on for this thread and those it starts, which read the images; XLA's have begun and stay where they are.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, input_cores)
    batches = loader_batches(
        read_image_folder(folder)["train"], size, batch_size, interpolation="bilinear", workers=workers
    )
    if kind == "step":
        first = next(batches)
        batches.close()
        batches = itertools.repeat(first)
    return loop(batches, step, batch_size), about


def loop(batches: Iterator[tuple[int, Any]], step: Step | None, batch_size: int) -> Run:
    """The training loop as train.py has it, between two logs. Without a step it only takes the batches.

    What counts is the time from the end of one step to the end of another, both with the loop in full swing: from the
    end of the LEAD_IN-th one on, not from when batches lay ready and the device had nothing to do.
    """
    mesh, numbers = parallel.create_mesh(), itertools.count(1)
    pace = ThroughputMeter(batch_size, 0)
    pace.__enter__()  # its thread ends with this process

    def run(images: int) -> float:
        ends: list[float] = []
        for _, chunk in itertools.islice(batches, LEAD_IN + images // batch_size):
            if step is None:
                ends.append(time.monotonic())
                continue
            batch = parallel.split_batch(chunk, mesh, axis=1)
            pace.begin_step()
            pace.end_step(next(numbers), Timed(step(batch), ends))
        pace.restart()  # waits for all steps
        return ends[-1] - ends[LEAD_IN - 1]

    return run


def stand_in(seconds: float) -> Step:
    """A device that takes one step after the other, `seconds` for each."""
    free_at = 0.0

    def step(batch: Any) -> Done:
        nonlocal free_at
        jax.block_until_ready(batch)  # the transfer, which on a CPU is a copy
        free_at = max(free_at, time.monotonic()) + seconds
        return Done(free_at)

    return step


def real_step(folder: str, size: int, batch_size: int) -> Step:
    """The package's training step on the photographs' two halves as classes."""
    config = load_config(str(DEFAULTS))
    config.update_from_flattened_dict(
        {
            "batch_size": batch_size,
            "steps_per_call": 1,
            "model.name": MODEL,
            "dataset.name": "image_folder",
            "dataset.data_dir": folder,
            "preprocess.image_size": size,
            "dataset.validation_fraction": 0.0,
            "augment.crop": "random_resized_crop",
            "augment.area": AREA,
            "augment.aspect": ASPECT,
            "augment.pad": 0,
        }
    )
    experiment = create_experiment(config)
    state = parallel.replicated(experiment.steps.create_state, experiment.mesh)

    def step(batch: Any) -> jax.Array:
        nonlocal state
        state, done = experiment.steps.train_chunk(state, {}, batch)
        return done

    return step


if __name__ == "__main__":
    serve(create)
