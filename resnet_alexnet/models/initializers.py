"""How parameters are initialized."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import core
from jax.nn import initializers
from jaxtyping import Array, Float

Initializer = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]  # of a key, a shape and a dtype

# One object for each kind of initializer: `draw` compiles one program for each object and shape.
constant, normal = functools.cache(initializers.constant), functools.cache(initializers.normal)


@functools.cache
def he_normal() -> Initializer:
    """Normal with variance 2 / fan_in. Source: He et al., "Delving deep into rectifiers", eq. 10; [H15] section 3.4."""
    return initializers.variance_scaling(2.0, "fan_in", "normal")


@functools.cache
def torch_uniform(fan_in: int) -> Initializer:
    """Uniform in +-1 / sqrt(fan_in): torch's initialization of weights and biases of convolutions and linear layers."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


def draw(init: Initializer, key: jax.Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """The first values of a parameter, in float32.

    One small program is compiled for all parameters of a shape, which a single program that draws a whole network does
    not: that of a deep one takes minutes to compile. Under a trace this is part of the traced program.
    """
    if isinstance(key, core.Tracer):  # there a part cannot have options of the compiler
        return init(key, shape, jnp.float32)
    return _draw(init, key, shape)


@functools.partial(jax.jit, static_argnums=(0, 2), compiler_options={"xla_backend_optimization_level": 2})
def _draw(init: Initializer, key: jax.Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """LLVM's further optimizations take most of the time to compile it, and make it neither faster nor other bits."""
    return init(key, shape, jnp.float32)
