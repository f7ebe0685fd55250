"""Run folders made without the loop."""

import json
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.start import checkpoint_metadata
from resnet_alexnet.workdir.checkpoint import Checkpointer
from resnet_alexnet.workdir.config import to_json
from resnet_alexnet.workdir.folder import create_workdir
from tests.support import tiny
from tests.support.networks import random_weights


def write_run(workdir: Path, config: ConfigDict, *, steps: int = 0) -> Path:
    """A run folder with one checkpoint: after `steps` steps on one device, or with random weights."""
    experiment = create_experiment(config, jax.devices()[:1])
    create_workdir(workdir, config)
    if steps:
        state = tiny.train(experiment, config, steps=steps)
    else:  # of which nothing has to be compiled
        shapes = jax.eval_shape(experiment.steps.create_state)
        state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        state = state.replace(**random_weights({"params": shapes.params, "batch_stats": shapes.batch_stats}))
    record = {"config": to_json(config), **checkpoint_metadata(experiment)}
    with Checkpointer(workdir / "checkpoints", keep=1) as checkpointer:
        checkpointer.save(steps, state, json.loads(json.dumps(record)))
    return workdir
