"""This project's process for benchmarks/step.py: the training step or the inference step of a network."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from serve import Run, serve
from step_nets import NETS, config_of, to_ours

from resnet_alexnet.speed.steps import InferenceStep, TrainingStep, device_megabytes
from resnet_alexnet.train.experiment import Experiment, create_experiment
from resnet_alexnet.train.stand_in import create_stand_in

CHECKED_STEPS = 2  # whose losses are compared


def create(
    name: str, kind: str, model: str, batch_size: int, precision: str, folder: str, num_devices: int = 1
) -> tuple[Run, dict[str, Any]]:
    """Creates the line `kind`, "training" or "inference".

    Args:
        name: of the line, for the file of its logits.
        kind: of the step.
        model: the network.
        batch_size: images of a step.
        precision: "float32" or "bfloat16".
        folder: with batch.npz, and weights.npz from torch if the results are to be compared.
        num_devices: jax's devices that share a batch.
    """
    with np.load(Path(folder) / "batch.npz") as file:
        batch = dict(file)
    experiment = create_with(model, batch_size, precision, num_devices)
    start = read_start(model, Path(folder), experiment)
    about: dict[str, Any] = {
        "versions": {package: version(package) for package in ("jax", "jaxlib", "flax", "optax", "numpy")},
        "device": jax.devices()[0].device_kind,
        "malloc": {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")},
    }
    if kind == "training":
        step = TrainingStep(experiment, batch, start=start)
        if start:
            checked = step
            if NETS[model].dropout:
                without = create_with(model, batch_size, precision, num_devices, dropout=False)
                checked = TrainingStep(without, batch, start=start)
            about["losses"] = []
            for _ in range(CHECKED_STEPS):
                checked.run(1)
                about["losses"].append(checked.mean_loss())
    else:
        state = jax.jit(experiment.steps.create_state)(start or {})
        weights = (state.params, state.batch_stats)
        spec = experiment.model.spec
        step = InferenceStep(spec, weights, batch["image"], mesh=experiment.mesh, precision=precision)
        if start:
            about["logits"] = f"{folder}/{name}.npy"
            np.save(about["logits"], step.logits())
    compilation = step.compilation
    about |= {"trace_seconds": compilation.trace_seconds, "compile_seconds": compilation.compile_seconds}

    def run(images: int) -> None:
        step.run(images // batch_size)
        about["device_megabytes"] = device_megabytes()

    return run, about


def create_with(model: str, batch_size: int, precision: str, num_devices: int, *, dropout: bool = True) -> Experiment:
    """The parts of a run whose step does what torch's does."""
    config = config_of(model, batch_size=batch_size, precision=precision, dropout=dropout)
    return create_experiment(config, jax.devices()[:num_devices], read=create_stand_in)


def read_start(model: str, folder: Path, experiment: Experiment) -> dict[str, np.ndarray]:
    """The weights that torch has written to `folder`, as ours; empty if there are none."""
    file = folder / "weights.npz"
    if not file.exists():
        return {}
    with np.load(file) as arrays:
        return to_ours(model, dict(arrays), experiment.model.spec)


if __name__ == "__main__":
    serve(create)
