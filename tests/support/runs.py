"""Trained networks for tests: run folders made without the loop, and networks of random weights."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from resnet_alexnet.pretrained.network import ModelSpec, TrainedModel, weights_of
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.start import checkpoint_metadata
from resnet_alexnet.workdir.checkpoint import Checkpointer
from resnet_alexnet.workdir.config import to_json
from resnet_alexnet.workdir.folder import create_workdir
from tests.support import tiny


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
        checkpointer.save(steps, state, json.loads(json.dumps(record)), error=None)
    return workdir


def random_weights(shapes: Any) -> Any:
    """Random weights of these shapes, statistics included."""
    rng = np.random.default_rng(0)

    def draw(path: tuple, leaf: Any) -> np.ndarray:
        if path[-1].key in ("var", "scale"):
            return rng.uniform(0.5, 2, leaf.shape).astype(np.float32)
        return np.resize(rng.standard_normal(min(leaf.size, 100_000), np.float32) * 0.1, leaf.shape)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def random_network(model: str, size: int, channels: int, *, num_classes: int = 3, **options: Any) -> TrainedModel:
    """A network of random weights; made without initializing one."""
    mean, std = (np.full(channels, value, np.float32) for value in (100, 60))
    preprocessing = Preprocessing(size, channels, mean, std, tuple(f"class_{label}" for label in range(num_classes)))
    spec = ModelSpec(model, options, num_classes, "softmax", preprocessing)
    weights = random_weights(jax.eval_shape(lambda: weights_of(spec.create_model(nnx.Rngs(0)))))
    return TrainedModel(spec, weights["params"], weights["batch_stats"])
