"""AlexNet's two towers on pairs of devices: the bytes that cross per layer and step, and the time of a step.

.venv/bin/python benchmarks/towers.py --devices=4 --batch_size=128
.venv/bin/python benchmarks/towers.py --devices=2 --batch_size=16 --rounds=5

The bytes are those of the compiled training step, on fake CPU devices, beside the arithmetic of the architecture. With
--rounds, steps on the pairs and on one device take turns.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

SEES_BOTH = ("conv3", "fc6", "fc7", "fc8")  # [K12] section 3.5


def create(devices: int, *, towers: int, batch_size: int, image_size: int) -> tuple[Any, Any]:
    """The experiment of a run of AlexNet on the first `devices` devices, and a chunk of one batch on the host."""
    import jax
    import numpy as np

    from configs import alexnet
    from resnet_alexnet.train.experiment import create_experiment

    config = alexnet.get_config()
    config.update_from_flattened_dict(
        {
            "mesh.towers": towers,
            "batch_size": batch_size,
            "num_steps": 100,
            "preprocess.image_size": image_size,
            "dataset.name": "synthetic",
            "dataset.num_classes": 1000,
            "dataset.num_examples": 2000,
            "dataset.validation_fraction": 0.5,
            "dataset.on_device": "no",
            "augment.crop": "none",
            "augment.color": "none",
            "preprocess.mean": "channel",
        }
    )
    experiment = create_experiment(config, jax.devices()[:devices])
    batch = experiment.inputs.splits.train.gather(np.arange(batch_size))
    return experiment, {name: batch[name][None] for name in ("image", "label")}


def compiled_bytes(experiment: Any, chunk: Any) -> dict[tuple[str, str], int]:
    """The bytes that a device sends in a step by (layer, direction), from the compiled program."""
    import jax

    from resnet_alexnet import parallel

    state = jax.eval_shape(experiment.steps.create_state)
    chunk = jax.eval_shape(lambda: chunk)
    text = experiment.steps.train_chunk.lower(state, {}, chunk).compile().as_text()
    sent: dict[tuple[str, str], int] = {}
    for found in parallel.read_collectives(text):
        layers = [layer for layer in SEES_BOTH if f"both_towers_to_{layer}" in found.scope]
        direction = "backward" if "transpose" in found.scope else "forward"
        key = (layers[0], direction) if layers else ("gradients", "backward")
        sent[key] = sent.get(key, 0) + parallel.sent_bytes(found, experiment.mesh.size)
    return sent


def computed_bytes(experiment: Any, batch_size: int) -> dict[tuple[str, str], int]:
    """The same from the architecture: half of the input of each layer that sees both towers, in float32.

    Backward, each device sends the gradient of the half of the other; fc8 sends none. Gradients are summed over the
    pairs, with the loss and the metrics.
    """
    import jax

    from resnet_alexnet import parallel
    from resnet_alexnet.models.trace import layer_calls
    from resnet_alexnet.paths import leaf_name

    preprocessing, pairs = experiment.model.spec.preprocessing, parallel.data_size(experiment.mesh)
    shape = (preprocessing.image_size, preprocessing.image_size, preprocessing.channels)
    sent = {}
    for call in layer_calls(experiment.model.spec.abstract(), shape):
        if call.path in SEES_BOTH:
            height, width, maps = call.input_shape
            half = 4 * (batch_size // pairs) * height * width * maps // 2
            sent[call.path, "forward"] = half
            if call.path != "fc8":
                sent[call.path, "backward"] = half
    state = jax.eval_shape(experiment.steps.create_state)
    split = sum(
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)
        if leaf_name(path) in experiment.model.tower_axes
    )
    held = sum(leaf.size for leaf in jax.tree.leaves(state.params)) - split // 2
    if pairs > 1:
        sent["gradients", "backward"] = 2 * 4 * (held + 1 + len(state.sums)) * (pairs - 1) // pairs
    return sent


def print_table(compiled: dict[tuple[str, str], int], computed: dict[tuple[str, str], int]) -> None:
    """Prints bytes by layer and direction as a Markdown table."""
    print("| layer | direction | compiled, bytes | computed, bytes |\n|---|---|---:|---:|")
    for key in sorted(computed.keys() | compiled.keys(), key=lambda key: (key[1] == "backward", key[0])):
        print(f"| {key[0]} | {key[1]} | {compiled.get(key, 0):,} | {computed.get(key, 0):,} |")
    print(f"| all | | {sum(compiled.values()):,} | {sum(computed.values()):,} |")


def create_turn(experiment: Any, chunk: Any, steps: int) -> Callable[[], float]:
    """A function that takes `steps` training steps and returns the images per second."""
    import jax

    from resnet_alexnet import parallel

    mesh = experiment.mesh
    state = parallel.sharded(experiment.steps.create_state, mesh, experiment.steps.state_specs)
    images = steps * len(chunk["label"][0])

    def turn() -> float:
        nonlocal state
        started = time.perf_counter()
        for _ in range(steps):
            state, done = experiment.steps.train_chunk(state, {}, parallel.split_batch(chunk, mesh, axis=1))
            jax.block_until_ready(done)
        return images / (time.perf_counter() - started)

    return turn


def measure(both: tuple[Any, Any], one: tuple[Any, Any], *, rounds: int, steps: int) -> dict[str, Any]:
    """The throughput on pairs of devices and on one device, in turns; the first round is discarded."""
    turns = [create_turn(*side, steps) for side in (both, one)]
    found = [[turn() for turn in turns] for _ in range(rounds + 1)][1:]
    ratios = [pairs / single for pairs, single in found]
    ours, peer = (statistics.median(values) for values in zip(*found, strict=True))
    return {"ours": ours, "peer": peer, "ratio": statistics.median(ratios), "ratios": ratios, "n": rounds}


def main(arguments: Sequence[str]) -> None:
    """Prints the table and, as the last line, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2, help="fake CPU devices, an even number")
    parser.add_argument("--batch_size", type=int, default=128, help="images per step, over all devices")
    parser.add_argument("--image_size", type=int, default=224, help="pixels")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of measuring; 0: only the table")
    parser.add_argument("--steps", type=int, default=2, help="training steps in a turn")
    options = parser.parse_args(arguments)
    flag = f"--xla_force_host_platform_device_count={options.devices}"
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"}
    import jax

    sizes = {"batch_size": options.batch_size, "image_size": options.image_size}
    both = create(options.devices, towers=2, **sizes)
    compiled, computed = compiled_bytes(*both), computed_bytes(both[0], options.batch_size)
    print_table(compiled, computed)
    result = {
        "what": f"alexnet on {options.devices // 2} pair(s) of devices, training step",
        **vars(options),
        "sent_bytes": {" ".join(key): value for key, value in compiled.items()},
        "hardware": f"{os.cpu_count()} CPU cores",
        "versions": {"jax": jax.__version__},
    }
    if options.rounds:
        one = create(1, towers=1, **sizes)
        result |= measure(both, one, rounds=options.rounds, steps=options.steps)
        print(f"images/s: {result['ours']:.1f} on {options.devices} devices, {result['peer']:.1f} on one")
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
