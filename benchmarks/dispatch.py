"""Measures the host's time for a training step: what Python and jax take to dispatch it, ours beside `nnx.jit`'s.

The host's thread alone counts, by its CPU time, and each step is awaited before the next. The last line of the output
is one JSON object. See benchmarks/README.md.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from goals import DISPATCH
from rich.console import Console
from table import Rows, print_tables

from resnet_alexnet.cli import command, flags
from resnet_alexnet.files import write_json
from resnet_alexnet.speed import machine
from resnet_alexnet.speed.windows import format_spread, spread

DESCRIPTION = """Measures the host's time to dispatch a training step.

Ours, the same network's in a plain function under nnx.jit, and that of a
program which takes and returns the arrays of our step and computes a few
products of matrices: no step that keeps each array by itself is dispatched
faster. The last line of the output is a JSON object."""
FLOOR = "the same arrays, no step"
# The products of that program take some tens of milliseconds, as a step does: jax has more to do for results that it
# has to wait for than for those of a program that it runs at once.
PRODUCTS, SIDE = 32, 500
Dispatch = Callable[[], Any]  # dispatches a step; returns what to wait for


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/dispatch.py", DESCRIPTION, usage="[--model=NAME] [OPTIONS]")
    parser.add_argument(
        "--model", metavar="NAME", default="cifar_resnet110", help="the network, one of those for small images"
    )
    parser.add_argument("--batch_size", metavar="N", type=flags.whole_number(2), default=2, help="images of a step")
    parser.add_argument("--image_size", metavar="N", type=flags.whole_number(), default=32, help="pixels")
    parser.add_argument("--rounds", metavar="N", type=flags.whole_number(), default=5, help="all run once in each")
    parser.add_argument("--steps", metavar="N", type=flags.whole_number(), default=20, help="steps in a turn")
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given = create_parser().parse(arguments)
    hardware = machine.describe()
    sides = {
        "ours": create_ours(given.model, given.batch_size, given.image_size),
        "nnx.jit": create_nnx(given.model, given.batch_size, given.image_size),
        FLOOR: create_empty(given.model, given.batch_size, given.image_size),
    }
    for side in sides.values():
        host_seconds(side, 3)
    turns = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, side in sides.items():
            turns[name].append(1000 * host_seconds(side, given.steps))
    results = summarize(turns, given.model, n=given.rounds) | {
        "settings": {name: getattr(given, name) for name in ("model", "batch_size", "image_size", "steps")},
        "hardware": hardware,
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax", "optax")},
    }
    if given.output is not None:
        write_json(given.output, results)
    print_tables(Console(), rows(results))
    print(json.dumps(results))


def create_ours(model: str, batch_size: int, image_size: int) -> Dispatch:
    """Our step, as the loop calls it."""
    steps, state, batch = create_steps(model, batch_size, image_size)

    def dispatch() -> Any:
        nonlocal state
        state, done = steps.train_chunk(state, {}, batch)
        return done

    return dispatch


def create_empty(model: str, batch_size: int, image_size: int) -> Dispatch:
    """A program that takes the state of our step and returns it, in place, beside some products."""
    import jax

    _, state, _ = create_steps(model, batch_size, image_size)
    matrix = jax.numpy.eye(SIDE)

    @partial(jax.jit, donate_argnums=0)
    def keep(arrays: list[jax.Array], matrix: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        product = matrix
        for _ in range(PRODUCTS):
            product = product @ matrix
        return [array + 0 for array in arrays], product  # XLA removes the additions

    arrays = [array for array in jax.tree.leaves(state) if not jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended)]

    def dispatch() -> Any:
        nonlocal arrays
        arrays, product = keep(arrays, matrix)
        return product

    return dispatch


def create_steps(model: str, batch_size: int, image_size: int) -> tuple[Any, Any, Any]:
    """The steps of a run, their first state and a batch on the device."""
    import jax

    from resnet_alexnet import parallel
    from resnet_alexnet.speed.steps import random_batch
    from resnet_alexnet.train.experiment import create_experiment
    from resnet_alexnet.train.stand_in import create_stand_in
    from resnet_alexnet.workdir.config import load_config

    config = load_config("default")
    config.update_from_flattened_dict(
        {
            "model.name": model,
            "batch_size": batch_size,
            "dataset.name": "synthetic",
            "dataset.num_examples": 100,
            "dataset.on_device": "no",
            "preprocess.image_size": image_size,
            "preprocess.mean": "none",
            "augment.pad": 0,
            "augment.flip": False,
            "schedule.name": "constant",
        }
    )
    experiment = create_experiment(config, jax.devices()[:1], read=create_stand_in)
    mesh, steps = experiment.mesh, experiment.steps
    state = parallel.sharded(steps.create_state, mesh, steps.state_specs)
    chunk = {name: array[None] for name, array in random_batch(experiment, batch_size).items()}
    return steps, state, parallel.split_batch(chunk, mesh, axis=1)


def create_nnx(model: str, batch_size: int, image_size: int) -> Dispatch:
    """A step of the same network as Flax's documentation writes one, under `nnx.jit`."""
    import jax
    import numpy as np
    import optax
    from flax import nnx

    from resnet_alexnet.models import create_model

    net = nnx.jit(lambda: create_model(model, num_classes=10, image_size=image_size, rngs=nnx.Rngs(0)))()
    optimizer = nnx.Optimizer(net, optax.sgd(0.1, momentum=0.9), wrt=nnx.Param)
    rng = np.random.default_rng(0)
    image = jax.device_put(rng.standard_normal((batch_size, image_size, image_size, 3)).astype(np.float32))
    label = jax.device_put(rng.integers(0, 10, batch_size).astype(np.int32))

    @nnx.jit
    def step(net: Any, optimizer: Any, image: jax.Array, label: jax.Array) -> jax.Array:
        def objective(net: Any) -> jax.Array:
            return optax.softmax_cross_entropy_with_integer_labels(net(image, train=True), label).mean()

        loss, grads = nnx.value_and_grad(objective)(net)
        optimizer.update(net, grads)
        return loss

    return lambda: step(net, optimizer, image, label)


def host_seconds(dispatch: Dispatch, steps: int) -> float:
    """The mean CPU time of this thread for a dispatch, in seconds."""
    total = 0.0
    for _ in range(steps):
        started = time.thread_time()
        done = dispatch()
        total += time.thread_time() - started
        done.block_until_ready()
    return total / steps


def summarize(turns: dict[str, list[float]], model: str, *, n: int) -> dict[str, Any]:
    """The results as JSON values, from the milliseconds of each side in each round."""
    ratio = spread([ours / peer for ours, peer in zip(turns["ours"], turns["nnx.jit"], strict=True)])
    floor = spread([empty / peer for empty, peer in zip(turns[FLOOR], turns["nnx.jit"], strict=True)])
    milliseconds = {name: spread(values) for name, values in turns.items()}
    ours, peer = (milliseconds[name]["median"] for name in ("ours", "nnx.jit"))
    what = f"{model}, host's milliseconds of a training step, ours and nnx.jit"
    return {
        **machine.result("dispatch", what, ours=ours, peer=peer, ratio=ratio["median"], n=n),
        "milliseconds": milliseconds,
        "ratios": ratio,
        "floor_ratios": floor,
        "goal": DISPATCH,
        "met": ratio["median"] <= DISPATCH,
    }


def rows(results: dict[str, Any]) -> Rows:
    """The table of all sides."""
    header = ("step", "host's time, ms, median (min to max)")
    found = [(name, format_spread(values)) for name, values in results["milliseconds"].items()]
    ratio = f"{format_spread(results['ratios'])}, goal at most {results['goal']:g}"
    floor = ("the same arrays, no step, for nnx.jit", format_spread(results["floor_ratios"]))
    return [header, *found, ("ours for nnx.jit", ratio), floor]


if __name__ == "__main__":
    command.run(main)
