"""What a compiled step writes to memory, keeps for its backward pass, or computes again there."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from resnet_alexnet.models.convolution import IN_LOOP


@jax.custom_vjp
def materialize(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same values and gradient, which XLA's CPU backend computes once and writes to memory.

    That backend repeats cheap elementwise operations in each operation that takes their result. Along shortcuts, which
    two operations take, this takes time that grows with the square of the depth. `lax.optimization_barrier` does not
    help: it is removed before. Other backends write what several operations take.
    """
    return lax.platform_dependent(x, cpu=lambda x: _loop_never(x, x), default=lambda x: x)


materialize.defvjp(lambda x: (materialize(x), None), lambda _, gradient: (materialize(gradient),))


def _loop_never(x: jax.Array, other: jax.Array) -> jax.Array:
    """A loop over `x` of no iterations, of which the compiler cannot know that; it needs `x` in memory, and `other`."""
    first = jnp.isnan(other.ravel()[0]).astype(jnp.int32)
    start = lax.min(first, jnp.int32(0))
    return lax.while_loop(lambda carry: carry[0] > 0, lambda carry: (carry[0] - 1, -carry[1]), (start, x))[1]


def recomputed(function: Callable[[jax.Array, Any], Any]) -> Callable[[jax.Array, Any], Any]:
    """Rematerialization: a function of which only the arguments are kept for the backward pass, which calls it again.

    Outside loops, `jax.checkpoint` has no effect on XLA's CPU backend: that removes the barrier behind which it
    computes again, and then takes the results of the forward pass, see `materialize`.

    Args:
        function: (an array, a tree of weights) -> a tree whose first leaf is an array.
    """
    call = jax.custom_vjp(function)

    def forward(x: jax.Array, weights: Any) -> tuple[Any, tuple[jax.Array, Any]]:
        return function(x, weights), (x, weights)

    def backward(kept: tuple[jax.Array, Any], gradient: Any) -> tuple[jax.Array, Any]:
        x, weights = kept
        return jax.vjp(function, _after(x, jax.tree.leaves(gradient)[0]), weights)[1](gradient)

    call.defvjp(forward, backward)
    return call


def _after(x: jax.Array, other: jax.Array) -> jax.Array:
    """The same values, on which nothing is computed before `other` is."""
    return lax.platform_dependent(
        x, other, cpu=_loop_never, default=lambda x, other: lax.optimization_barrier((x, other))[0]
    )


def kept_in_loop(primitive: Any, *types: Any, **parameters: Any) -> bool:
    """A policy of `jax.checkpoint` for loop bodies: keeps convolutions, products and sums, not elementwise results.

    Autodiff keeps each result that a gradient needs: twice the memory, and a step that is no faster.
    """
    named = jax.checkpoint_policies.save_only_these_names(IN_LOOP)
    return primitive in (lax.dot_general_p, lax.reduce_sum_p) or bool(named(primitive, *types, **parameters))
