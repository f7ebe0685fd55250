"""How a run begins: from the start, from trained weights or from its last checkpoint; and what is told of it."""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from resnet_alexnet import parallel
from resnet_alexnet.errors import InputError
from resnet_alexnet.paths import leaf_name, partition
from resnet_alexnet.train.experiment import Experiment
from resnet_alexnet.train.state import TrainState
from resnet_alexnet.workdir.checkpoint import Checkpointer

SAME_MEAN = 0.5  # pixel values by which two measurements of one training set's mean may differ


def title(config: ConfigDict) -> str:
    """What to call a run."""
    return f"{config.model.name} on {config.dataset.name}"


def begin(experiment: Experiment, config: ConfigDict, checkpointer: Checkpointer) -> tuple[TrainState, list[str]]:
    """The state to start from, and what to tell the user about the run."""
    restored = checkpointer.restore(jax.eval_shape(experiment.steps.create_state))
    if restored is None:
        state = parallel.replicated(experiment.steps.create_state, experiment.mesh, experiment.model.start)
        resumed = []
    else:
        check_same_data(restored.metadata, experiment)
        state = parallel.replicate(restored.state, experiment.mesh)
        resumed = [*restored.warnings, f"resumed at step {int(state.step)}"]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    splits, optim = experiment.inputs.splits, config.optim
    sizes = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    rate = f"learning rate {experiment.optimizer.learning_rate:g}"
    if optim.batch_size_rule != "none":
        rate += f" ({optim.learning_rate:g} at batch {optim.reference_batch_size}, {optim.batch_size_rule} rule)"
    devices = experiment.mesh.devices.flat
    return state, [
        f"{title(config)}: {parameters:,} parameters, {config.precision}, {len(devices)} x {devices[0].device_kind}",
        "images: " + ", ".join(f"{len(source):,} {name}" for name, source in sizes.items() if source is not None),
        f"{rate}, batch {config.batch_size}, {config.num_steps:,} steps "
        f"({config.num_steps * config.batch_size / len(splits.train):.1f} epochs)",
        *(_origin(experiment, config, state) if restored is None else []),
        *_frozen(experiment, config, state),
        *resumed,
    ]


def _origin(experiment: Experiment, config: ConfigDict, state: TrainState) -> list[str]:
    """What is told of the weights that a run starts from."""
    if not config.finetune.weights:
        return []
    names = (leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path({"params": state.params}))
    new = dict.fromkeys(
        name.split("/", 1)[1].rpartition("/")[0] for name in names if name not in experiment.model.start
    )
    return [f"starts from {config.finetune.weights}; new layers: {', '.join(new) or 'none'}"]


def _frozen(experiment: Experiment, config: ConfigDict, state: TrainState) -> list[str]:
    """What is told of the layers that stay as they are."""
    if not config.finetune.frozen:
        return []
    frozen, learned = (
        sum(leaf.size for leaf in jax.tree.leaves(part)) for part in partition(state.params, experiment.model.is_frozen)
    )
    names = ", ".join(config.finetune.frozen)
    return [f"frozen: {names}; {learned:,} of {frozen + learned:,} parameters are trained"]


def checkpoint_metadata(experiment: Experiment) -> dict[str, Any]:
    """What a checkpoint holds beside the state: what the network is, and the number of images."""
    splits = experiment.inputs.splits
    sizes = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {
        "network": experiment.model.spec.to_json(),
        "num_images": {name: len(source) for name, source in sizes.items() if source is not None},
    }


def check_same_data(saved: dict[str, Any], experiment: Experiment) -> None:
    """Raises InputError where the data is not that of the checkpoint: labels and order would mean something else."""
    now = checkpoint_metadata(experiment)
    inputs, were = (metadata["network"]["preprocessing"] for metadata in (now, saved))
    pairs = {
        "numbers of images differ": (now["num_images"], saved["num_images"]),
        "classes differ": (inputs["classes"], were["classes"]),
    }
    for what, (given, before) in pairs.items():
        if given != before:
            raise InputError(f"the data is not that of the run so far, its {what}: {given}, were {before}")
    # Not to the bit: on another processor OpenCV may round a resized pixel another way.
    if not np.allclose(inputs["mean"], were["mean"], rtol=0, atol=SAME_MEAN):
        raise InputError("the data is not that of the run so far, its mean image differs")
