"""This project's process for benchmarks/step.py: the training step or the inference step of a network."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from serve import Run, forget_peak, serve
from step_nets import NETS, config_of, to_ours

from resnet_alexnet.cli.memory import keep_freed, use_huge_pages
from resnet_alexnet.speed.steps import InferenceStep, TrainingStep, device_megabytes
from resnet_alexnet.train.experiment import Experiment, create_experiment
from resnet_alexnet.train.stand_in import create_stand_in

CHECKED_STEPS = 2  # whose losses are compared


def create(
    name: str, kind: str, model: str, batch_size: int, precision: str, folder: str, resident: bool = False
) -> tuple[Run, dict[str, Any]]:
    """Creates the line `kind`, "training" or "inference".

    Args:
        name: of the line, for the file of its logits.
        kind: of the step.
        model: the network.
        batch_size: images of a step.
        precision: "float32" or "bfloat16".
        folder: with batch.npz, and weights.npz from torch if the results are to be compared.
        resident: whether images are on the device, see `step_nets.config_of`. What is compared is of `batch` still.
    """
    keep_freed()  # as the commands do
    with np.load(Path(folder) / "batch.npz") as file:
        batch = dict(file)
    common = {"batch_size": batch_size, "precision": precision}
    experiment = create_with(model, **common, resident=resident)
    start = read_start(model, Path(folder), experiment)
    about: dict[str, Any] = {
        "versions": {package: version(package) for package in ("jax", "jaxlib", "flax", "optax", "numpy")},
        "device": jax.devices()[0].device_kind,
        "malloc": {name: value for name, value in os.environ.items() if name.startswith(("MALLOC_", "GLIBC_"))},
    }
    if kind == "training":
        has_to_differ = NETS[model].dropout or resident  # from what is compared
        if start and has_to_differ:
            without = create_with(model, **common, dropout=False)
            about["losses"] = first_losses(TrainingStep(without, batch, start=start))
            start = {}  # only for the comparison: kept, they would be in memory twice
        forget_peak()
        step = TrainingStep(experiment, batch, start=start)
        if start:
            about["losses"] = first_losses(step)
    else:
        state = experiment.steps.create_state(start or {})
        weights = (state.params, state.batch_stats)
        step = InferenceStep(experiment, weights, batch["image"], precision=precision)
        if start:
            about["logits"] = f"{folder}/{name}.npy"
            np.save(about["logits"], step.logits())
    compilation = step.compilation
    about |= {"trace_seconds": compilation.trace_seconds, "compile_seconds": compilation.compile_seconds}

    def run(images: int) -> None:
        step.run(images // step.images_per_call)
        about["device_megabytes"] = device_megabytes()

    return run, about


def first_losses(step: TrainingStep) -> list[float]:
    """The mean loss after each of the first steps."""
    losses = []
    for _ in range(CHECKED_STEPS):
        step.run(1)
        losses.append(step.mean_loss())
    return losses


def create_with(model: str, **options: Any) -> Experiment:
    """The parts of a run on one device whose step does what torch's does; for the options see `config_of`."""
    return create_experiment(config_of(model, **options), jax.devices()[:1], read=create_stand_in)


def read_start(model: str, folder: Path, experiment: Experiment) -> dict[str, np.ndarray]:
    """The weights that torch has written to `folder`, as ours; empty if there are none."""
    file = folder / "weights.npz"
    if not file.exists():
        return {}
    with np.load(file) as arrays:
        return to_ours(model, dict(arrays), experiment.model.spec)


if __name__ == "__main__":
    use_huge_pages()  # as the commands do
    serve(create)
