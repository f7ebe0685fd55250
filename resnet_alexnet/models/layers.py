"""The layers of both papers.

Layers take a `key` and split it for their parts, instead of drawing from an `nnx.Rngs`: the counter of a stream is a
variable, and under a trace each write to a variable walks the whole program, which takes quadratic time in depth. A
layer computes in the dtype of its input; parameters and statistics are float32.
"""

import contextlib
import contextvars
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.models.convolution import Padding, convolve, window_output
from resnet_alexnet.models.initializers import Initializer, draw

Observer = Callable[["Layer", Any, Any], None]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": jax.nn.relu, "tanh": jnp.tanh}

_observer: contextvars.ContextVar[Observer | None] = contextvars.ContextVar("observer", default=None)
_paths: contextvars.ContextVar[Mapping[int, str]] = contextvars.ContextVar("paths", default=MappingProxyType({}))


@contextlib.contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Calls `observer(layer, input, output)` after each call of a layer inside the `with` block."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextlib.contextmanager
def name_scopes(paths: Mapping[int, str]) -> Iterator[None]:
    """Names the operations of layers inside the `with` block by their paths, which are given by the layers' `id`."""
    token = _paths.set(paths)
    try:
        yield
    finally:
        _paths.reset(token)


class Layer(nnx.Module):
    """A layer with a row in the table of its paper; subclasses define `forward`."""

    frozen = False  # whether it behaves in training as in testing, see `trace.freeze`

    def __call__(self, x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        """Applies the layer and shows the result to the observer, if there is one.

        Its operations have its path in the compiled program and in profiles, or else the name of its class.
        """
        with jax.named_scope(_paths.get().get(id(self), type(self).__name__)):
            y = self.forward(x, *args, **kwargs)
        if (observer := _observer.get()) is not None:
            observer(self, x, y)
        return y

    def forward(self, x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        """What the layer computes."""
        raise NotImplementedError

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Multiply-adds for one image, counted as both papers do: convolutions and inner products only.

        Every output pixel takes the whole kernel once.
        """
        kernel = getattr(self, "kernel", None)
        return 0 if kernel is None else math.prod(output_shape[:-1]) * kernel.get_value().size


class LayerError(InputError):
    """Bad input of a layer, which does not know its path in the network: `trace.naming_layers` adds it."""

    def __init__(self, layer: Layer, message: str):
        super().__init__(message)
        self.layer = layer


def ceil_padding(size: int, window: int, stride: int) -> Padding:
    """The ceil mode of Caffe and cuda-convnet: pads the end so that the last window starting inside the map fits."""
    windows = -(-max(size - window, 0) // stride) + 1
    return (0, max((windows - 1) * stride + window - size, 0))


def check_image(image: jax.Array, channels: int, smallest: int, largest: int | None = None) -> None:
    """Raises InputError unless `image` is (batch, height, width, channels) with sides that the network can take."""
    if image.ndim != 4 or image.shape[-1] != channels:
        raise InputError(
            f"image has shape {tuple(image.shape)}, but the model takes (batch, height, width, {channels} channels)"
        )
    if min(image.shape[1:3]) < smallest:
        raise InputError(
            f"image of {image.shape[1]}x{image.shape[2]} pixels is too small, the smallest is {smallest}x{smallest}"
        )
    if largest is not None and max(image.shape[1:3]) > largest:
        raise InputError(
            f"image of {image.shape[1]}x{image.shape[2]} pixels is too large, the largest is {largest}x{largest}"
        )


def smallest_image(image_size: int, map_size: Callable[[int], int], *, needed: int = 1, model: str) -> int:
    """The smallest image side whose last map has a side of at least `needed` pixels.

    `map_size` is (image side) -> side of the last map; it must not decrease.

    Raises:
        InputError: `image_size` is smaller. The message has the smallest side.
    """
    smallest = next(size for size in itertools.count(1) if map_size(size) >= needed)
    if image_size < smallest:
        raise InputError(
            f"image_size={image_size} is too small for {model}, the smallest is {smallest} (below: alexnet_cifar)"
        )
    return smallest


class Convolution(Layer):
    """A convolution with a square kernel and explicit padding, with or without bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        strides: int = 1,
        padding: Padding = (0, 0),
        kernel_init: Initializer,
        bias_init: Initializer | None = None,
        key: jax.Array,
    ):
        kernel_key, bias_key = jax.random.split(key)
        self.kernel = nnx.Param(draw(kernel_init, kernel_key, (kernel_size, kernel_size, in_channels, out_channels)))
        self.bias = None if bias_init is None else nnx.Param(draw(bias_init, bias_key, (out_channels,)))
        self.strides = strides
        self.padding = padding

    def forward(self, x: Float[Array, "batch height width in"]) -> Float[Array, "batch new_height new_width out"]:
        """Convolves and adds the bias."""
        y = convolve(x, self.kernel.get_value(), strides=self.strides, padding=self.padding)
        return y if self.bias is None else y + self.bias.get_value().astype(y.dtype)


class LocalConvolution(Layer):
    """A locally connected layer: a convolution with another kernel at each position, for maps of one fixed size.

    The kernel of a position is stored flat, in the order (in_channels, kernel_height, kernel_width).

    Source: cuda-convnet's `local` layers, as in the CIFAR-10 network of [K12] section 3.3.
    """

    def __init__(
        self,
        map_size: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        padding: Padding,
        kernel_init: Initializer,
        key: jax.Array,
    ):
        out = window_output(map_size, kernel_size, 1, padding)
        self.kernel = nnx.Param(draw(kernel_init, key, (out, out, kernel_size**2 * in_channels, out_channels)))
        self.bias = nnx.Param(jnp.zeros((out, out, out_channels), jnp.float32))
        self.kernel_size = kernel_size
        self.padding = padding

    def forward(self, x: Float[Array, "batch height width in"]) -> Float[Array, "batch new_height new_width out"]:
        """Applies the kernel of each position; `lax.conv_general_dilated_local` is several times slower on a CPU."""
        kernel = self.kernel.get_value().astype(x.dtype)
        height, width = kernel.shape[:2]
        padded = jnp.pad(x, [(0, 0), self.padding, self.padding, (0, 0)])
        taps = itertools.product(range(self.kernel_size), repeat=2)
        windows = [padded[:, i : i + height, j : j + width] for i, j in taps]
        patches = jnp.stack(windows, axis=-1).reshape(x.shape[0], height, width, -1)
        return jnp.einsum("bhwi,hwio->bhwo", patches, kernel) + self.bias.get_value().astype(x.dtype)

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Each weight is used once."""
        return self.kernel.get_value().size


class Linear(Layer):
    """A linear layer with bias."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_init: Initializer,
        bias_init: Initializer,
        key: jax.Array,
    ):
        kernel_key, bias_key = jax.random.split(key)
        self.kernel = nnx.Param(draw(kernel_init, kernel_key, (in_features, out_features)))
        self.bias = nnx.Param(draw(bias_init, bias_key, (out_features,)))

    def forward(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        """Multiplies and adds the bias."""
        return x @ self.kernel.get_value().astype(x.dtype) + self.bias.get_value().astype(x.dtype)


class MaxPool(Layer):
    """Max-pooling; `padding` is "none", "ceil" (Caffe) or "symmetric" (one pixel per side, as torchvision's ResNets).

    It is computed as a maximum of strided slices, first over rows, then over columns: on a CPU the gradient is several
    times faster than that of XLA's select-and-scatter.

    Departure: if pixels in a window are equal, they share the gradient, instead of the first one getting all of it.
    """

    def __init__(self, window: int, stride: int, *, padding: str = "none"):
        check_name("padding", padding, ("none", "ceil", "symmetric"))
        self.window, self.stride, self.padding = window, stride, padding

    def _padding(self, size: int) -> Padding:
        if self.padding == "ceil":
            return ceil_padding(size, self.window, self.stride)
        return (1, 1) if self.padding == "symmetric" else (0, 0)

    def output_size(self, size: int) -> int:
        """Side of the output map for an input map of side `size`."""
        return window_output(size, self.window, self.stride, self._padding(size))

    def forward(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch new_height new_width channels"]:
        """Takes the maximum of each window."""
        height, width = self.output_size(x.shape[1]), self.output_size(x.shape[2])
        pads = [(0, 0), self._padding(x.shape[1]), self._padding(x.shape[2]), (0, 0)]
        x = jnp.pad(x, pads, constant_values=-jnp.inf)
        for axis, size in ((1, height), (2, width)):
            ends = range((size - 1) * self.stride + 1, (size - 1) * self.stride + 1 + self.window)
            slices = (lax.slice_in_dim(x, end - ends[0], end, self.stride, axis) for end in ends)
            x = functools.reduce(jnp.maximum, slices)
        return x


def image_keys(rngs: nnx.Rngs | jax.Array | None, batch: int) -> jax.Array:
    """One random key per image: an array of `batch` keys is returned as it is, an nnx.Rngs draws them.

    Raises:
        InputError: `rngs` is None, or does not have one key per image.
    """
    if rngs is None:
        raise InputError(
            "dropout needs random keys in training: pass rngs=nnx.Rngs(...) or an array of one key per image"
        )
    if isinstance(rngs, nnx.Rngs):
        return jax.random.split(rngs.dropout(), batch)
    if rngs.shape != (batch,):
        raise InputError(f"rngs has keys of shape {rngs.shape} (allowed: one key per image, ({batch},))")
    return rngs


class Dropout(Layer):
    """Sets each unit to zero with probability `rate`, drawn per image so that it does not depend on the devices.

    Args:
        rate: the probability, in [0, 1).
        scaling: "inverted" divides the kept units by 1 - rate in training; "test" multiplies all units by 1 - rate in
            testing instead, as in [K12] section 4.2.
        index: number of the layer, which gives each dropout layer of a network its own draws.
    """

    def __init__(self, rate: float, *, scaling: str = "inverted", index: int):
        check_name("dropout_scaling", scaling, ("inverted", "test"))
        if not 0 <= rate < 1:
            raise InputError(f"dropout is {rate} (allowed: 0 <= dropout < 1)")
        self.rate, self.scaling, self.index = rate, scaling, index

    def forward(self, x: Float[Array, "batch *features"], *, keys: jax.Array | None) -> Float[Array, "batch *features"]:
        """Drops units by the key of each image in training; no keys means testing."""
        keep = 1 - self.rate
        if keys is None or self.frozen:
            return x * jnp.asarray(keep, x.dtype) if self.scaling == "test" else x
        kept = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, self.index), keep, x.shape[1:]))(keys)
        scaled = x / jnp.asarray(keep, x.dtype) if self.scaling == "inverted" else x
        return jnp.where(kept, scaled, jnp.zeros((), x.dtype))
