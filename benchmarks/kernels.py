"""Times the convolutions and linear layers of a training step alone, ours and torch's, beside the whole step.

Each distinct layer is a program of its own: forward, and the gradients of its input and its kernel. Their sum estimates
what a step takes for them: alone, a layer reads its arrays from memory, which a step may still have in the cache. The
last line of the output is one JSON object. See benchmarks/README.md.
"""

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import step_nets
from rich.console import Console
from table import Rows, print_tables

from resnet_alexnet.cli import command, flags
from resnet_alexnet.files import write_json
from resnet_alexnet.speed import machine

DESCRIPTION = """Times the convolutions and linear layers of a training step alone.

Ours and torch's, layer by layer, in turns. The last line of the output is a
JSON object."""
_WARM_UP = 2  # calls


@dataclass(frozen=True)
class Shape:
    """What a layer computes.

    Attributes:
        input: of one image, (height, width, channels) or (features,).
        kernel: (height, width, channels, channels) or (features, features).
        strides: 1 for a linear layer.
        padding: before and after, in pixels.
        groups: of channels.
    """

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: int = 1
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    def __str__(self) -> str:
        kernel = f"{self.kernel[0]}x{self.kernel[1]}, {self.kernel[3]}" if len(self.kernel) == 4 else self.kernel[1]
        strides = f", stride {self.strides}" if self.strides > 1 else ""
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{' x '.join(map(str, self.input))} to {kernel}{strides}{groups}"


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/kernels.py", DESCRIPTION, usage="--model=NAME [OPTIONS]")
    parser.add_argument("--model", metavar="NAME", required=True, help="the network, such as --model=resnet50")
    parser.add_argument("--batch_size", metavar="N", type=flags.whole_number(), help="images of a step")
    parser.add_argument("--rounds", metavar="N", type=flags.whole_number(), default=5, help="measurements of each")
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given = create_parser().parse(arguments)
    batch_size = given.batch_size or step_nets.find_net(given.model).batch_size
    hardware = machine.describe()
    counts = layer_shapes(given.model)
    rows = []
    for shape, count in counts.items():
        ours, torch = compare(shape, batch_size, given.rounds)
        rows.append(
            {"layer": str(shape), "count": count, "ours": round(count * ours, 2), "torch": round(count * torch, 2)}
        )
    ours, peer = (sum(row[side] for row in rows) for side in ("ours", "torch"))
    results = {
        **machine.result(
            "kernels",
            f"{given.model}, batch {batch_size}, ms of convolutions and linear layers alone",
            ours=round(ours, 1),
            peer=round(peer, 1),
            ratio=round(peer / ours, 3),
            n=given.rounds,
        ),
        "settings": {"model": given.model, "batch_size": batch_size},
        "layers": rows,
        "hardware": hardware,
        "versions": {name: version(name) for name in ("jax", "jaxlib", "torch")},
    }
    if given.output is not None:
        write_json(given.output, results)
    print_tables(Console(), layer_rows(results))
    print(json.dumps(results))


def layer_rows(results: Mapping[str, Any]) -> Rows:
    """The table of a file of results."""
    title = f"{results['settings']['model']}, {results['settings']['batch_size']} images"
    header = (title, "of them", "ours, ms", "torch, ms", "ratio")
    rows = [
        (
            row["layer"],
            str(row["count"]),
            f"{row['ours']:,.1f}",
            f"{row['torch']:,.1f}",
            f"{row['torch'] / row['ours']:.2f}",
        )
        for row in results["layers"]
    ]
    total = ("all", "", f"{results['ours']:,.0f}", f"{results['peer']:,.0f}", f"{results['ratio']:.2f}")
    return [header, *rows, total]


def layer_shapes(model: str) -> Counter[Shape]:
    """The distinct convolutions and linear layers of a network, and how often it has each."""
    from flax import nnx

    from resnet_alexnet import models
    from resnet_alexnet.models.trace import layer_calls

    size = step_nets.sizes(model)
    options = step_nets.options(model)
    module = nnx.eval_shape(lambda: models.create_model(model, rngs=nnx.Rngs(0), channels=3, **size, **options))
    shapes: Counter[Shape] = Counter()
    for call in layer_calls(module, (size["image_size"], size["image_size"], 3)):
        kernel = getattr(call.layer, "kernel", None)
        if kernel is None:
            continue
        dims = kernel.get_value().shape
        strides, padding = getattr(call.layer, "strides", 1), getattr(call.layer, "padding", (0, 0))
        groups = 1
        if len(dims) == 5:  # of towers
            groups = 1 if call.layer.see_all else dims[0]
            dims = (*dims[1:4], dims[0] * dims[4])
        if len(dims) == 4 and tuple(dims[:2]) == call.input_shape[:2]:  # over a whole map
            shapes[Shape((dims[0] * dims[1] * dims[2],), (dims[0] * dims[1] * dims[2], dims[3]))] += 1
        else:
            shapes[Shape(call.input_shape[-len(dims) + 1 :], dims, strides, padding, groups)] += 1
    return shapes


def compare(shape: Shape, batch_size: int, rounds: int) -> tuple[float, float]:
    """Milliseconds of a layer, forward and backward: ours, and torch's in the faster of its layouts; medians."""
    calls = [
        ours(shape, batch_size),
        *(torchs(shape, batch_size, layout) for layout in ("contiguous", "channels_last")),
    ]
    times: list[list[float]] = [[] for _ in calls]
    for number in range(_WARM_UP + rounds):
        for call, found in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            if number >= _WARM_UP:
                found.append(1e3 * (time.perf_counter() - started))
    mine, *others = map(statistics.median, times)
    return mine, min(others)


def ours(shape: Shape, batch_size: int) -> Callable[[], object]:
    """A call of our layer with its gradients."""
    import jax
    import jax.numpy as jnp

    from resnet_alexnet.models.layers import convolve
    from resnet_alexnet.parallel.compiling import compiler_options
    from resnet_alexnet.parallel.mesh import create_mesh

    def forward(x: jax.Array, kernel: jax.Array) -> jax.Array:
        if len(shape.kernel) == 2:
            return x @ kernel
        parts = zip(jnp.split(x, shape.groups, -1), jnp.split(kernel, shape.groups, -1), strict=True)
        y = [convolve(part, own, strides=shape.strides, padding=shape.padding) for part, own in parts]
        return jnp.concatenate(y, -1)

    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (batch_size, *shape.input)), jax.random.normal(keys[1], shape.kernel)
    dy = jax.random.normal(keys[2], jax.eval_shape(forward, x, kernel).shape)

    def step(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(forward, x, kernel)
        return y, *pull(dy)

    options = compiler_options(create_mesh(jax.devices()[:1]))
    compiled = jax.jit(step, compiler_options=options).lower(x, kernel, dy).compile()
    return lambda: jax.block_until_ready(compiled(x, kernel, dy))


def torchs(shape: Shape, batch_size: int, layout: str) -> Callable[[], object]:
    """A call of torch's layer with its gradients."""
    import torch

    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

    def leaf(*dims: int) -> torch.Tensor:
        values = torch.randn(*dims)
        return (values.to(memory_format=formats[layout]) if len(dims) == 4 else values).requires_grad_()

    if len(shape.kernel) == 2:
        x, kernel = leaf(batch_size, *shape.input), leaf(*reversed(shape.kernel))
    else:
        height, width, channels = shape.input
        x, kernel = (
            leaf(batch_size, channels, height, width),
            leaf(shape.kernel[3], *(shape.kernel[i] for i in (2, 0, 1))),
        )

    def forward() -> torch.Tensor:
        if len(shape.kernel) == 2:
            return torch.nn.functional.linear(x, kernel)
        return torch.nn.functional.conv2d(
            x, kernel, stride=shape.strides, padding=shape.padding[0], groups=shape.groups
        )

    dy = torch.randn_like(forward())

    def step() -> None:
        x.grad = kernel.grad = None
        forward().backward(dy)

    return step


if __name__ == "__main__":
    command.run(main)
