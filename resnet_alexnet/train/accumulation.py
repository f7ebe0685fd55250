"""Gradient accumulation: the images of an update on a device pass through the network in several micro-batches.

Each micro-batch is a run of consecutive rows of the batch. So ghost batch norm has the groups of the undivided batch if
a group fits into a micro-batch, pairs of images that are mixed stay together, and every image keeps its random keys.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from resnet_alexnet.errors import InputError


def check_accumulation(accumulate_steps: int, device_batch_size: int, *, bn_group: object, mixes: bool) -> None:
    """Raises InputError unless the images of a device are that many micro-batches of whole groups and pairs.

    Args:
        accumulate_steps: micro-batches of an update.
        device_batch_size: images of an update on a device.
        bn_group: the option of the network; only a number of images matters.
        mixes: whether pairs of images are mixed.
    """
    group = bn_group if isinstance(bn_group, int) else 1
    together = math.lcm(group, 2 if mixes else 1)
    allowed = [n for n in range(1, device_batch_size + 1) if device_batch_size % (n * together) == 0]
    if accumulate_steps in allowed:
        return
    whole = [f"of {group} images for model.bn_group"] * (group > 1) + ["of 2 images to mix"] * mixes
    raise InputError(
        f"accumulate_steps={accumulate_steps} does not divide the {device_batch_size} images of a device into equal "
        f"micro-batches{' with whole groups ' + ' and '.join(whole) if whole else ''} "
        f"(allowed: {', '.join(map(str, allowed))})"
    )


def accumulate(
    function: Callable[..., tuple[Any, Any]], rows: Any, zeros: tuple[Any, Any], *, steps: int, unroll: bool
) -> tuple[Any, Any]:
    """Calls a function on each micro-batch, one after the other, and combines the results.

    Args:
        function: a micro-batch -> (means over its images, sums over its images). The micro-batch is `rows` with fewer
            rows.
        rows: the batch: a tree of arrays whose first axis is the image.
        zeros: (means, sums) that are zero, of the shapes that the function returns.
        steps: micro-batches.
        unroll: unroll the loop. XLA's CPU backend runs the gradient of a convolution in a loop body tens of times
            slower. Elsewhere a loop compiles faster.

    Returns:
        (means over all images, sums over all images).
    """
    size = jax.tree.leaves(rows)[0].shape[0] // steps

    def add(total: tuple[Any, Any], start: jax.Array) -> tuple[tuple[Any, Any], None]:
        micro_batch = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, size), rows)
        return jax.tree.map(jnp.add, total, function(micro_batch)), None

    if unroll:
        total = zeros
        for i in range(steps):
            total, _ = add(total, i * size + _zero_after(total))
    else:
        total, _ = lax.scan(add, zeros, size * jnp.arange(steps))
    means, sums = total
    return jax.tree.map(lambda mean: mean / steps, means), sums


def _zero_after(tree: Any) -> Int[Array, ""]:
    """An integer 0 that is computed from arrays of a tree, so that what uses it waits for them.

    Without it XLA's CPU backend runs the micro-batches side by side, in the memory of the undivided batch:
    `lax.optimization_barrier` is removed before the order of the program is chosen. A minimum with 0 is not simplified.
    """

    def axes(leaf: jax.Array) -> frozenset[str]:
        return jax.typeof(leaf).manual_axis_type.varying  # the axes of the mesh along which it differs

    leaves = jax.tree.leaves(tree)
    fewest = min(map(axes, leaves), key=len)  # rows must not differ along "tower", as gradients do
    first = sum(leaf.ravel()[0] for leaf in leaves if axes(leaf) == fewest)
    return lax.min(jnp.isnan(first).astype(jnp.int32), jnp.int32(0))
