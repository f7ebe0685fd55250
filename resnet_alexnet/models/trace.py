"""The layers of a network by their path, such as stages.0.1.conv1.conv, and in the order of the forward pass."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_alexnet.errors import InputError
from resnet_alexnet.models.layers import Layer, LayerError, Linear, name_scopes, observe
from resnet_alexnet.paths import is_within


@dataclasses.dataclass(frozen=True)
class LayerCall:
    """A layer, as the forward pass calls it.

    Attributes:
        path: such as stages.0.1.conv1.conv.
        layer: with shapes for parameters.
        input_shape, output_shape: of one image, without the batch.
    """

    path: str
    layer: Layer
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


def layer_paths(model: nnx.Module) -> dict[int, str]:
    """The path of each layer, by its `id`."""
    return {
        id(module): ".".join(map(str, path)) for path, module in nnx.iter_modules(model) if isinstance(module, Layer)
    }


@contextlib.contextmanager
def naming_layers(model: nnx.Module) -> Iterator[None]:
    """Names layers by their paths inside the `with` block: in messages of a `LayerError`, and in compiled programs."""
    paths = layer_paths(model)
    try:
        with name_scopes(paths):
            yield
    except LayerError as error:
        raise InputError(f"{paths.get(id(error.layer), 'a layer')}: {error}") from None


def layer_calls(model: nnx.Module, image_shape: Sequence[int]) -> list[LayerCall]:
    """The layers in the order of the forward pass. Nothing is computed.

    Args:
        model: may hold shapes instead of arrays.
        image_shape: (height, width, channels).
    """
    calls: list[LayerCall] = []
    graphdef, state = nnx.split(model)

    def forward(state: nnx.State) -> jax.Array:
        merged = nnx.merge(graphdef, state)
        paths = layer_paths(merged)

        def note(layer: Layer, x: Any, y: Any) -> None:
            # A user's own layer may take or give no array, or lie in a transformed function, as a copy.
            if id(layer) in paths and isinstance(x, jax.Array) and isinstance(y, jax.Array):
                calls.append(LayerCall(paths[id(layer)], layer, x.shape[1:], y.shape[1:]))

        with observe(note):
            return merged(jnp.zeros((1, *image_shape)))

    jax.eval_shape(forward, state)
    return calls


def classifier(calls: Sequence[LayerCall]) -> str:
    """The path of the last linear layer, which gives the logits.

    Raises:
        InputError: the forward pass calls no linear layer, as may be in a user's own network.
    """
    linear = [call.path for call in calls if isinstance(call.layer, Linear | nnx.Linear)]
    if not linear:
        raise InputError("the network calls no linear layer, so there is no last one to choose: name a layer")
    return linear[-1]


def freeze(model: nnx.Module, prefixes: Sequence[str]) -> None:
    """Makes layers behave in training as in tests: batch normalization uses its running statistics, dropout is off.

    Args:
        model: is changed.
        prefixes: paths of layers, or the beginnings of their paths.
    """
    for path, module in nnx.iter_modules(model):
        if isinstance(module, Layer) and is_within(".".join(map(str, path)), prefixes):
            module.frozen = True
