"""A network's layers, shapes, parameters, multiply-adds and memory, known without computing anything.

As a command: python -m resnet_alexnet.models.summary resnet152 --image_size=224 --batch_size=256 --shortcut=C
"""

import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from rich.console import Console
from rich.table import Table

from resnet_alexnet.errors import InputError, nearest
from resnet_alexnet.models import FAMILIES, create_model, option_types
from resnet_alexnet.models.layers import Layer, observe

USAGE = f"""usage: python -m resnet_alexnet.models.summary MODEL [--num_classes=1000] [--image_size=224] [--channels=3]
           [--batch_size=1] [--activation_bytes=4] [--OPTION=VALUE ...], options such as --shortcut=C

models: {FAMILIES}"""

NUMBERS = {"num_classes": 1000, "image_size": 224, "channels": 3, "batch_size": 1, "activation_bytes": 4}
WORDS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One layer for one image.

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
    rows: list[LayerSummary] = []

    def forward(image: jax.Array) -> jax.Array:
        model = create_model(
            name, num_classes=num_classes, image_size=image_size, channels=channels, rngs=nnx.Rngs(0), **options
        )
        paths = {id(module): ".".join(map(str, path)) for path, module in nnx.iter_modules(model)}

        def add_row(layer: Layer, x: jax.Array, y: jax.Array) -> None:
            parameters = sum(v.get_value().size for v in vars(layer).values() if isinstance(v, nnx.Param))
            rows.append(LayerSummary(paths[id(layer)], y.shape[1:], parameters, layer.multiply_adds(y.shape[1:])))

        with observe(add_row):
            return model(image)

    jax.eval_shape(forward, jax.ShapeDtypeStruct((1, image_size, image_size, channels), jnp.float32))
    return rows


def total_parameters(rows: Sequence[LayerSummary]) -> int:
    """Parameters of the whole network."""
    return sum(row.parameters for row in rows)


def total_multiply_adds(rows: Sequence[LayerSummary]) -> int:
    """Multiply-adds of the whole network for one image, forward."""
    return sum(row.multiply_adds for row in rows)


def estimate_memory(
    rows: Sequence[LayerSummary], *, batch_size: int, activation_bytes: int = 4
) -> MemoryEstimate:
    """Estimates the memory of training by SGD with momentum on one device.

    Parameters, gradients and momentum are exact, 4 bytes (float32) each. Activations are an estimate: the output of
    every layer is kept once for the backward pass. The compiler keeps less where it recomputes or fuses (a bias, an
    activation function, dropout) and needs more for its workspaces, which nothing short of compiling can tell.

    Args:
        rows: as `summarize` gives them.
        batch_size: images on the device.
        activation_bytes: bytes of one activation: 4 for float32, 2 for bfloat16.
    """
    weights = 4 * total_parameters(rows)
    activations = batch_size * activation_bytes * sum(math.prod(row.shape) for row in rows)
    return MemoryEstimate(parameters=weights, gradients=weights, momentum=weights, activations=activations)
