"""A network's layers, shapes, parameters, multiply-adds and memory, known without computing anything.

As a command: python -m resnet_alexnet.models.summary resnet152 --image_size=224 --batch_size=256 --shortcut=C
"""

import dataclasses
import math
from argparse import ArgumentTypeError
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TextIO

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.errors import InputError
from resnet_alexnet.workdir.fields import read_groups

_DESCRIPTION = """Prints the layers of a network with their shapes and parameters.

Counts multiply-adds of the forward pass for one image, and estimates the memory
that training takes on a device. Nothing is computed and no weight is made."""
BOOLEANS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One layer for one image.

    Attributes:
        layer: where the layer lies in the model, such as stages.0.1.conv1.conv.
        shape: of its output, without the batch: (height, width, channels) or (features,).
        parameters: numbers the layer learns.
        multiply_adds: of the forward pass, counted as both papers do: convolutions and inner products only.
    """

    layer: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training holds, see `estimate_memory`."""

    parameters: int
    gradients: int
    momentum: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.gradients + self.momentum + self.activations


def summarize(
    name: str, *, num_classes: int = 1000, image_size: int = 224, channels: int = 3, **options: Any
) -> list[LayerSummary]:
    """Summarizes the layers of the model called `name` in the order of the forward pass.

    Raises:
        InputError: as `create_model`.
    """
    from flax import nnx

    from resnet_alexnet.models import create_model
    from resnet_alexnet.models.trace import layer_calls

    sizes = {"num_classes": num_classes, "image_size": image_size, "channels": channels}
    model = nnx.eval_shape(lambda: create_model(name, **sizes, rngs=nnx.Rngs(0), **options))
    parameters: dict[str, dict[str, int]] = defaultdict(dict)  # by the layer, then by name
    for path, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param):
            parameters[".".join(map(str, path[:-1]))][str(path[-1])] = variable.get_value().size
    rows = []
    for call in layer_calls(model, (image_size, image_size, channels)):
        own = parameters.pop(call.path, {})  # none left for a layer that is called once more
        rows.append(
            LayerSummary(call.path, call.output_shape, sum(own.values()), call.layer.multiply_adds(call.output_shape))
        )
    # What a user's own network takes from its modules without calling them as layers.
    for layer, sizes in parameters.items():
        rows += [LayerSummary(f"{layer}.{name}".lstrip("."), (), size, 0) for name, size in sizes.items()]
    return rows


def total_parameters(rows: Sequence[LayerSummary]) -> int:
    """Parameters of the whole network."""
    return sum(row.parameters for row in rows)


def total_multiply_adds(rows: Sequence[LayerSummary]) -> int:
    """Multiply-adds of the whole network for one image, forward."""
    return sum(row.multiply_adds for row in rows)


def estimate_memory(rows: Sequence[LayerSummary], *, batch_size: int, activation_bytes: int = 4) -> MemoryEstimate:
    """Estimates the memory of training by SGD with momentum on one device.

    Parameters, gradients and momentum are exact, 4 bytes (float32) each. Activations are an estimate: the output of
    every layer is kept once for the backward pass. What a compiled step takes differs with its fusions and workspaces:
    XLA's CPU backend reports 1.0 to 2.2 times as much for ResNets, 3.2 for alexnet_owt, and 5.6 for alexnet, whose
    local response normalization keeps intermediates (jax 0.10.2, float32, batches of 64 and 128).

    Args:
        rows: as `summarize` gives them.
        batch_size: images on the device.
        activation_bytes: bytes of one activation: 4 for float32, 2 for bfloat16.
    """
    weights = 4 * total_parameters(rows)
    activations = batch_size * activation_bytes * sum(math.prod(row.shape) for row in rows)
    return MemoryEstimate(parameters=weights, gradients=weights, momentum=weights, activations=activations)


def print_summary(
    rows: Sequence[LayerSummary], memory: MemoryEstimate, *, title: str, memory_title: str, file: TextIO | None = None
) -> None:
    """Prints the layers with totals, then the memory: ruled on a terminal, bare aligned columns elsewhere."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # Wider than any row: a narrow terminal may fold a line but no number is cut.
    console = Console(file=file, width=200, highlight=False, markup=False)
    style = box.SIMPLE_HEAD if console.is_terminal else None
    layers = Table(box=style, pad_edge=False, show_footer=True)
    layers.add_column("layer", "total")
    layers.add_column("output shape", justify="right")
    layers.add_column("parameters", f"{total_parameters(rows):,}", justify="right")
    layers.add_column("multiply-adds", f"{total_multiply_adds(rows):,}", justify="right")
    for row in rows:
        shape = " x ".join(map(str, row.shape))
        layers.add_row(row.layer, shape, f"{row.parameters:,}", f"{row.multiply_adds:,}")
    table = Table(box=style, pad_edge=False, show_footer=True, show_header=False)
    table.add_column("", "total")
    table.add_column("", _mebibytes(memory.total), justify="right")
    for field in dataclasses.fields(memory):
        table.add_row(field.name, _mebibytes(getattr(memory, field.name)))
    with console.capture() as text:  # rich itself would end the process with 1 where nobody reads the file any more
        console.print(title, layers, "", memory_title, table, sep="\n")
    print(text.get(), end="", file=file)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def option_value(kinds: tuple[type, ...]) -> Callable[[str], Any]:
    """The type of a flag's value that is of the first of `kinds` that it can be."""

    def parse(text: str) -> Any:
        for kind in (bool, int, float, str):
            if kind in kinds or object in kinds:
                try:
                    return BOOLEANS[text.lower()] if kind is bool else kind(text)
                except (KeyError, ValueError):
                    continue
        allowed = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
        raise ArgumentTypeError(f"{text} is not of type {allowed}")

    return parse


def create_parser(model_options: Mapping[str, tuple[type, ...]] = MappingProxyType({})) -> Parser:
    """The flags of the command.

    Args:
        model_options: the options of the model, and the types that each may have.
    """
    parser = Parser("python -m resnet_alexnet.models.summary", _DESCRIPTION, usage="MODEL [OPTIONS]")
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="the network, such as resnet50 or cifar_resnet20; for an unknown one all are named",
    )
    for name, default, text in (
        ("num_classes", 1000, "logits"),
        ("image_size", 224, "pixels: height and width of the images"),
        ("channels", 3, "color channels of the images"),
        ("batch_size", 1, "images on a device, for the memory"),
        ("activation_bytes", 4, "bytes of an activation, for the memory: 4 for float32, 2 for bfloat16"),
    ):
        parser.add_argument(f"--{name}", metavar="N", type=flags.whole_number(), default=default, help=text)
    group = parser.add_argument_group(
        "options of the model", "Such as --shortcut=C; MODEL --help lists those of a model."
    )
    meanings = {field.name: field.meaning.replace("%", "%%") for part in read_groups() for field in part.fields}
    for name, kinds in model_options.items():
        allowed = "|".join(kind.__name__ for kind in kinds if kind is not type(None))
        group.add_argument(f"--{name}", metavar=allowed, type=option_value(kinds), help=meanings.get(f"model.{name}"))
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command: prints the summary of the model that the arguments name.

    Raises:
        InputError: no or an unknown model, an unknown flag or a bad value.
    """
    kinds: Mapping[str, tuple[type, ...]] = {}
    if arguments and not arguments[0].startswith("-"):
        from resnet_alexnet.models import option_types

        kinds = option_types(arguments[0])
    elif not {"-h", "--help", "--version"} & set(arguments):
        from resnet_alexnet.models import FAMILIES

        raise InputError(f"name a model first: {FAMILIES}")
    options = create_parser(kinds).parse(arguments)
    sizes = {name: getattr(options, name) for name in ("num_classes", "image_size", "channels")}
    given = {name: value for name in kinds if (value := getattr(options, name)) is not None}
    rows = summarize(options.model, **sizes, **given)
    memory = estimate_memory(rows, batch_size=options.batch_size, activation_bytes=options.activation_bytes)
    images = f"{options.batch_size} image{'s' * (options.batch_size > 1)}"
    print_summary(
        rows,
        memory,
        title=f"{options.model}, one image of {options.image_size} x {options.image_size} x {options.channels}",
        memory_title=f"memory to train, an estimate, {images} on a device",
    )


if __name__ == "__main__":
    run(main)
