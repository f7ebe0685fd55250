"""Run folders of trained networks, made without the loop, for the tests of what takes such a folder."""

import json
from pathlib import Path

import jax
from ml_collections import ConfigDict

from resnet_alexnet import beginning, build, parallel, run_folder
from resnet_alexnet.checkpoint import Checkpointer
from tests import tiny


def write_run(workdir: Path, config: ConfigDict, *, steps: int = 2) -> Path:
    """A run folder with one checkpoint, after `steps` steps on one device."""
    experiment = build.create_experiment(config, jax.devices()[:1])
    run_folder.create(workdir, config)
    start = parallel.replicated(experiment.create_state, experiment.mesh, experiment.start)
    state = tiny.train(experiment, config, steps=steps, state=start)
    record = {"config": run_folder.to_json(config), **beginning.record_of(experiment)}
    with Checkpointer(workdir / "checkpoints", keep=1) as checkpointer:
        checkpointer.save(state, json.loads(json.dumps(record)), error=None)
    return workdir
