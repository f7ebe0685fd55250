"""A tiny run, for tests: ResNet-8 on 8x8 synthetic images."""

from typing import Any

import jax
from ml_collections import ConfigDict

from configs import default
from resnet_alexnet import parallel
from resnet_alexnet.data.loading import loader
from resnet_alexnet.train.experiment import Experiment, resident_data
from resnet_alexnet.train.state import TrainState


def config(**fields: Any) -> ConfigDict:
    """The tiny recipe; fields of groups are written group__field."""
    config = default.get_config()
    config.update_from_flattened_dict(
        {
            "batch_size": 16,
            "num_steps": 40,
            "model.name": "cifar_resnet8",
            "dataset.name": "synthetic",
            "preprocess.image_size": 8,
            "dataset.channels": 1,
            "dataset.num_classes": 10,
            "dataset.num_examples": 200,
            "augment.pad": 1,
            "schedule.boundaries": (20,),
            "log.every_steps": 10,
            "eval.every_steps": 20,
            "eval.batch_size": 16,
            "checkpoint.every_steps": 20,
        }
    )
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


def train(
    experiment: Experiment,
    config: ConfigDict,
    *,
    steps: int,
    steps_per_call: int = 1,
    resident: bool = True,
    state: TrainState | None = None,
) -> TrainState:
    """The state after `steps` steps from the start, without the loop's logging and saving."""
    mesh, source = experiment.mesh, experiment.inputs.splits.train
    if state is None:
        state = parallel.sharded(experiment.steps.create_state, mesh, experiment.steps.state_specs)
    data = parallel.replicate(resident_data(source), mesh) if resident else {}
    chunks = loader.train_chunks(
        source,
        batch_size=config.batch_size,
        seed=config.seed,
        start_step=int(state.step),
        num_steps=steps,
        steps_per_call=steps_per_call,
        resident=resident,
    )
    for _, chunk in chunks:
        state, _ = experiment.steps.train_chunk(state, data, parallel.split_batch(chunk, mesh, axis=1))
    return jax.block_until_ready(state)
