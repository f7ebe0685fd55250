"""Convolutions, as XLA's backends compute them fast: those with small kernels, and those in a loop."""

import contextlib
import contextvars
import functools
import itertools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

Padding = tuple[int, int]  # pixels before and after, the same for both directions

IN_LOOP = "convolution in a loop"  # the name of its result, for policies of `jax.checkpoint`
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_in_loop: contextvars.ContextVar[bool] = contextvars.ContextVar("in_loop", default=False)


def window_output(size: int, window: int, stride: int, padding: Padding) -> int:
    """Output size of a window of `window` pixels on `size` pixels; below 1 if the window does not fit."""
    return (size + sum(padding) - window) // stride + 1


def convolve(
    x: Float[Array, "batch height width in"],
    kernel: Float[Array, "kernel_height kernel_width in out"],
    *,
    strides: int = 1,
    padding: Padding = (0, 0),
) -> Float[Array, "batch new_height new_width out"]:
    """Convolution in NHWC with an HWIO kernel and equal strides.

    A 1x1 kernel is computed as a product of two matrices on the strided pixels, which is several times faster in XLA's
    CPU backend; a product with an array of more axes is not. A kernel with more pixels than the maps is computed as a
    product too, see `_convolve_patches`. In a loop, where no block has strides, gradients are those of
    `_loop_convolution`.
    """
    kernel = kernel.astype(x.dtype)
    if kernel.shape[:2] == (1, 1) and padding == (0, 0):
        x = x[:, ::strides, ::strides]
        return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)
    if _is_larger_than_maps(kernel, x, strides, padding):
        return checkpoint_name(_convolve_patches(x, kernel, strides=strides, padding=padding), IN_LOOP)
    if _in_loop.get() and strides == 1:
        return checkpoint_name(_loop_convolution(padding)(*_varying_alike(x, kernel)), IN_LOOP)
    return _convolve(x, kernel, strides=strides, padding=padding)


def _convolve(x: jax.Array, kernel: jax.Array, *, strides: int = 1, padding: Padding) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (strides, strides), [padding, padding], dimension_numbers=_LAYOUT)


def _is_larger_than_maps(kernel: jax.Array, x: jax.Array, strides: int, padding: Padding) -> bool:
    """Whether a kernel has more pixels than its input or its output."""
    window, size = kernel.shape[:2], x.shape[1:3]
    output = [window_output(*each, strides, padding) for each in zip(size, window, strict=True)]
    return math.prod(window) > min(math.prod(size), math.prod(output))


def _convolve_patches(x: jax.Array, kernel: jax.Array, *, strides: int, padding: Padding) -> jax.Array:
    """A convolution as one product of two matrices: the patches under the kernel, and the kernel.

    For small maps, of which the patches take little memory. Where a kernel has more pixels than its input, XLA lets
    them change places, and its CPU backend has no fast convolution for the result: a 3x3 on maps of 2x2 pixels, as in
    the last stage of a ResNet for images of 64, took 70 times as long, and so did the gradients.
    """
    rows, columns = (window_output(x.shape[1 + axis], kernel.shape[axis], strides, padding) for axis in (0, 1))
    padded = jnp.pad(x, [(0, 0), padding, padding, (0, 0)])
    windows = [
        padded[:, i : i + strides * (rows - 1) + 1 : strides, j : j + strides * (columns - 1) + 1 : strides]
        for i, j in itertools.product(*map(range, kernel.shape[:2]))
    ]
    patches = jnp.concatenate(windows, axis=-1).reshape(x.shape[0] * rows * columns, -1)
    return (patches @ kernel.reshape(-1, kernel.shape[-1])).reshape(x.shape[0], rows, columns, -1)


@contextlib.contextmanager
def inside_loop() -> Iterator[None]:
    """Says that what is traced inside the `with` block is the body of a loop."""
    token = _in_loop.set(True)
    try:
        yield
    finally:
        _in_loop.reset(token)


def _varying_alike(*arrays: jax.Array) -> Iterator[jax.Array]:
    """The arrays, all marked as differing along each axis of the mesh along which one of them does.

    In a `shard_map` a gradient must be marked as its argument is.
    """
    varying = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    for array, own in zip(arrays, varying, strict=True):
        missing = frozenset().union(*varying) - own
        yield lax.pcast(array, tuple(missing), to="varying") if missing else array


@functools.cache
def _loop_convolution(padding: Padding) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A convolution with strides of 1 whose gradients are `_gradients` on CPUs.

    XLA's CPU backend brings the convolutions of the main computation into the layout that its fast kernels take, but
    not those of loop bodies (jax-ml/jax#12868). There the gradients of autodiff, which have other layouts, take 30 to
    75 times as long. Other backends choose a kernel for each convolution wherever it is.
    """

    @jax.custom_vjp
    def convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _convolve(x, kernel, padding=padding)

    def forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return convolution(x, kernel), (x, kernel)

    def automatic(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(functools.partial(_convolve, padding=padding), x, kernel)[1](dy)

    def backward(arrays: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        explicit = functools.partial(_gradients, padding=padding)
        return lax.platform_dependent(*arrays, dy, cpu=explicit, default=automatic)

    convolution.defvjp(forward, backward)
    return convolution


def _gradients(
    x: Float[Array, "batch height width in"],
    kernel: Float[Array, "kernel_height kernel_width in out"],
    dy: Float[Array, "batch new_height new_width out"],
    *,
    padding: Padding,
) -> tuple[Float[Array, "batch height width in"], Float[Array, "kernel_height kernel_width in out"]]:
    """The gradients of a convolution with respect to `x` and `kernel`, as convolutions in NHWC with HWIO kernels.

    The first convolves `dy` with the flipped kernel, the second `x` with `dy` as the kernel: there channels take the
    place of images.
    """
    before, after = padding
    dx = lax.conv_general_dilated(
        dy,
        jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2),
        (1, 1),
        [(window - 1 - before, window - 1 - after) for window in kernel.shape[:2]],
        dimension_numbers=_LAYOUT,
    )
    dkernel = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        [padding, padding],
        dimension_numbers=_LAYOUT,
    )
    return dx, dkernel.transpose(1, 2, 0, 3)
