"""The training loop's process for benchmarks/input.py: the input alone, the step alone, and both in the loop.

There are two devices. "stand_in" simulates an accelerator: a step takes a given time and no CPU time. This measures the
loop itself, the loader, the host's part of a step and the bound on steps in flight. "real" runs the package's training
step of a small network on jax's device. If this is the CPU, step and input get separate cores, because on shared cores
a loop can at best take the sum of their times.
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
LEAD_IN = 16  # unmeasured steps at the start: more than are read ahead and in flight
Step = Callable[[Any], Result]  # dispatches the step on a batch


@dataclass(frozen=True)
class Timed:
    """A dispatched step that records the time of its end in `ends`."""

    step: Result
    ends: list[float]

    def block_until_ready(self) -> None:
        """Waits for the end of the step and records its time."""
        self.step.block_until_ready()
        self.ends.append(time.monotonic())


@dataclass(frozen=True)
class Done:
    """A step of the simulated device, which ends at a given time of the monotonic clock."""

    at: float

    def block_until_ready(self) -> None:
        """Waits for that time."""
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
    """Creates the line `kind` ("input", "step" or "loop") on `device` ("stand_in" or "real").

    The other parameters are those of the line; `step_seconds` is the step time of the simulated device.
    """
    about = {"versions": {"jax": jax.__version__}, "device": jax.devices()[0].device_kind}
    if kind == "input":
        step = None
    else:
        step = stand_in(step_seconds) if device == "stand_in" else real_step(folder, size, batch_size)
    # Applies to this thread and the threads it starts, which read the images. XLA's threads have already started.
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
    """Runs the training loop of train/loop.py between two log lines. Without a step it only reads the batches.

    The time is measured from the end of step LEAD_IN to the end of the last step. So it excludes the start, when
    batches are ready and the device is idle.
    """
    mesh, numbers = parallel.create_mesh(), itertools.count(1)
    meter = ThroughputMeter(batch_size, 0)
    meter.__enter__()  # its thread ends with this process

    def run(images: int) -> float:
        ends: list[float] = []
        for _, chunk in itertools.islice(batches, LEAD_IN + images // batch_size):
            if step is None:
                ends.append(time.monotonic())
                continue
            batch = parallel.split_batch(chunk, mesh, axis=1)
            meter.begin_step()
            meter.end_step(next(numbers), Timed(step(batch), ends))
        meter.restart()  # waits for all steps
        return ends[-1] - ends[LEAD_IN - 1]

    return run


def stand_in(seconds: float) -> Step:
    """Simulates a device that runs one step at a time, each for `seconds`."""
    free_at = 0.0

    def step(batch: Any) -> Done:
        nonlocal free_at
        jax.block_until_ready(batch)  # the transfer, a copy on a CPU
        free_at = max(free_at, time.monotonic()) + seconds
        return Done(free_at)

    return step


def real_step(folder: str, size: int, batch_size: int) -> Step:
    """Creates the package's training step, with the two halves of the photographs as classes."""
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
    state = parallel.replicated(experiment.steps.create_state, experiment.mesh, experiment.model.start)

    def step(batch: Any) -> jax.Array:
        nonlocal state
        state, done = experiment.steps.train_chunk(state, {}, batch)
        return done

    return step


if __name__ == "__main__":
    serve(create)
