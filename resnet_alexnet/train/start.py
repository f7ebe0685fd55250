"""The start of a run: from random weights, from trained weights or from its last checkpoint; and its first messages."""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from resnet_alexnet import parallel
from resnet_alexnet.errors import InputError
from resnet_alexnet.paths import partition
from resnet_alexnet.pretrained.network import shapes_of
from resnet_alexnet.train.experiment import Experiment
from resnet_alexnet.train.report import chance_errors
from resnet_alexnet.train.state import TrainState
from resnet_alexnet.workdir.checkpoint import Checkpointer

SAME_MEAN = 0.5  # how far two measurements of the mean of one training set may differ, in pixel values (0 to 255)


def start_run(
    experiment: Experiment, config: ConfigDict, checkpointer: Checkpointer
) -> tuple[TrainState, list[str], dict[str, Any]]:
    """Creates or restores the state of a run.

    Returns:
        The state; the messages about the run to print; and the metadata of the checkpoint, empty for a new run.

    Raises:
        InputError: the data is not the data of the checkpoint.
    """
    mesh, specs = experiment.mesh, experiment.steps.state_specs
    restored = checkpointer.restore(lambda: jax.eval_shape(experiment.steps.create_state))
    if restored is None:
        state = parallel.sharded(experiment.steps.create_state, mesh, specs, experiment.model.start)
        resumed, saved = [], {}
    else:
        check_same_data(restored.metadata, experiment, test=config.eval.test)
        state, saved = parallel.shard(restored.state, mesh, specs), restored.metadata
        resumed = [*restored.warnings, f"resumed at step {int(state.step)}"]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    splits, optim = experiment.inputs.splits, config.optim
    learning_rate = f"learning rate {experiment.optimizer.learning_rate:g}"
    if optim.batch_size_rule != "none":
        learning_rate += (
            f" ({optim.learning_rate:g} at batch size {optim.reference_batch_size}, {optim.batch_size_rule} rule)"
        )
    devices = mesh.devices.flat
    messages = [
        f"{parameters:,} parameters, {config.precision}, {len(devices)} x {devices[0].device_kind}"
        + (f", process {jax.process_index()} of {jax.process_count()}" if jax.process_count() > 1 else ""),
        *experiment.inputs.notes,
        *experiment.model.notes,
        f"{learning_rate}, batch size {config.batch_size}, {config.num_steps:,} steps "
        f"({config.num_steps * config.batch_size / len(splits.train):.1f} epochs)",
        *(_initial_weights_message(experiment, config) if restored is None else []),
        *_frozen_message(experiment, config, state),
        *_towers_message(experiment, state),
        *resumed,
    ]
    return state, messages, saved


def _initial_weights_message(experiment: Experiment, config: ConfigDict) -> list[str]:
    """Says which weights the run starts from and which layers are new; empty for a run from random weights."""
    if not config.finetune.weights:
        return []
    names = shapes_of({"params": experiment.model.spec.shapes()["params"]})
    new = dict.fromkeys(
        name.split("/", 1)[1].rpartition("/")[0] for name in names if name not in experiment.model.start
    )
    return [f"starts from {config.finetune.weights}; new layers: {', '.join(new) or 'none'}"]


def _frozen_message(experiment: Experiment, config: ConfigDict, state: TrainState) -> list[str]:
    """Says which layers are frozen and how many parameters are trained; empty if no layer is frozen."""
    if not config.finetune.frozen:
        return []
    frozen, learned = (
        sum(leaf.size for leaf in jax.tree.leaves(part)) for part in partition(state.params, experiment.model.is_frozen)
    )
    names = ", ".join(config.finetune.frozen)
    return [f"frozen: {names}; {learned:,} of {frozen + learned:,} parameters are trained"]


def _towers_message(experiment: Experiment, state: TrainState) -> list[str]:
    """Says how much of the network a device holds; empty if each holds all of it."""
    if not experiment.model.tower_axes:
        return []
    params, whole = (size / 1e6 for size in parallel.device_bytes(state.params))
    held, total = (size / 1e6 for size in parallel.device_bytes(state))
    pairs = parallel.data_size(experiment.mesh)
    return [
        f"the two towers are on {pairs} pair(s) of devices: each device holds {params:.1f} of {whole:.1f} MB of "
        f"parameters, {held:.1f} of {total:.1f} MB with the optimizer's state"
    ]


def checkpoint_metadata(experiment: Experiment) -> dict[str, Any]:
    """The metadata of a checkpoint: the network, and the number of images and chance error of each split."""
    splits = experiment.inputs.splits
    sizes = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {
        "network": experiment.model.spec.to_json(),
        "num_images": {name: len(source) for name, source in sizes.items() if source is not None},
        "chance_error": chance_errors(splits),
    }


def check_same_data(saved: dict[str, Any], experiment: Experiment, *, test: str) -> None:
    """Checks that the data is the data of a checkpoint: labels and order would mean something else.

    Args:
        saved: the metadata of the checkpoint.
        experiment: the run.
        test: the field eval.test, which may have changed: if either is "never", the test splits are not compared.

    Raises:
        InputError: the number of images, the classes or the mean image differ.
    """
    current = checkpoint_metadata(experiment)
    inputs, before = (metadata["network"]["preprocessing"] for metadata in (current, saved))
    left_out = "test" if "never" in (test, saved["config"]["eval"].get("test")) else None
    sizes, sizes_before = (
        {name: size for name, size in metadata["num_images"].items() if name != left_out}
        for metadata in (current, saved)
    )
    pairs = {
        "numbers of images": (sizes, sizes_before),
        "classes": (inputs["classes"], before["classes"]),
    }
    for name, (given, expected) in pairs.items():
        if given != expected:
            raise InputError(
                f"cannot resume with other data: {name} are {given}, but were {expected} "
                "(start a new run in another --workdir, or restore the data)"
            )
    # Approximately: OpenCV may round resized pixels differently on another processor.
    if not np.allclose(inputs["mean"], before["mean"], rtol=0, atol=SAME_MEAN):
        raise InputError(
            "cannot resume with other data: the mean image of the training set has changed "
            "(start a new run in another --workdir, or restore the data)"
        )
