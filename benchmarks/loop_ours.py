"""This project's process for benchmarks/loop.py: the training loop, or the step of its run alone."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from serve import Run, serve

from resnet_alexnet.cli.memory import keep_freed, use_huge_pages
from resnet_alexnet.errors import InputError
from resnet_alexnet.speed.steps import TrainingStep, random_batch
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.loop import train_and_evaluate
from resnet_alexnet.workdir.config import load_overridden
from resnet_alexnet.workdir.metrics_log import read_metrics


def create(kind: str, config: str, fields: Sequence[str], steps: int) -> tuple[Run, dict[str, Any]]:
    """Creates the line `kind`, "loop" or "step", of the recipe `config`, for turns of `steps` steps."""
    keep_freed()  # as the commands do
    recipe = load_overridden(config, [f"--config.{field}" for field in fields])
    about = {"versions": {name: version(name) for name in ("jax", "jaxlib", "flax")}}
    if kind == "loop":
        return whole_loop(recipe, steps), about
    experiment = create_experiment(recipe)
    step = TrainingStep(experiment, random_batch(experiment, recipe.batch_size))
    return lambda count: step.run(count // step.steps_per_call), about


def whole_loop(recipe: Any, steps: int) -> Run:
    """Trains in a new run folder in each turn.

    The time is that between two lines of metrics.jsonl: the one at the first checkpoint, and the last, `steps` steps
    later. So it has all that the loop does for these steps, and neither the start nor the evaluation at the end.
    """
    first = recipe.checkpoint.every_steps or recipe.log.every_steps
    if not first or first % recipe.log.every_steps:
        raise InputError(
            f"log.every_steps={recipe.log.every_steps} does not divide checkpoint.every_steps={first}, so the loop "
            "has no line to measure from: set both with --set"
        )
    recipe.update_from_flattened_dict({"num_steps": first + steps, "eval.every_steps": 0, "eval.test": "never"})

    def run(count: int) -> float | None:
        if not count:
            return None
        folder = Path(tempfile.mkdtemp())
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                train_and_evaluate(recipe, folder / "run")
            lines = read_metrics(folder / "run" / "metrics.jsonl")
        finally:
            shutil.rmtree(folder)
        times = {line["step"]: line["time"] for line in lines if "train/loss" in line}
        return times[first + steps] - times[first]

    return run


if __name__ == "__main__":
    use_huge_pages()  # as the commands do
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # each turn compiles the same again
    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        serve(create)
