"""The roofline of a device: how fast it copies memory and multiplies matrices, and what follows for a step.

Source: Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model".
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from resnet_alexnet.speed.work import Kernel

_REPEATS = 5  # of which the fastest counts: other programs only slow it down
_COPY_BYTES = {"cpu": 2**28, "other": 2**31}  # of an array, larger than all caches
_MATRIX_SIDE = {"cpu": 2048, "other": 8192}
_IN_A_CALL = {"cpu": 1, "other": 16}  # repetitions in a program, so that its dispatch does not count


@dataclass(frozen=True)
class Roofline:
    """The speed of a device.

    Attributes:
        bytes_per_second: read and written by a copy of an array in memory.
        flops_per_second: multiplications and additions in a product of two large square matrices.
    """

    bytes_per_second: float
    flops_per_second: float

    def seconds(self, kernels: Iterable[Kernel]) -> float:
        """The least time for kernels one after the other: each is limited by its arithmetic or by its traffic."""
        return sum(
            max(kernel.flops / self.flops_per_second, kernel.bytes / self.bytes_per_second) for kernel in kernels
        )


def measure_roofline(dtype: str, *, shrink: int = 1) -> Roofline:
    """Measures the first device of jax, with all its cores if it is a CPU.

    Args:
        dtype: of the matrices, "float32" or "bfloat16".
        shrink: divides the size of the array and the side of the matrices, for a trial.
    """
    kind = "cpu" if jax.default_backend() == "cpu" else "other"
    count, side, calls = _COPY_BYTES[kind] // 4 // shrink, _MATRIX_SIDE[kind] // shrink, _IN_A_CALL[kind]

    def copy(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, calls, lambda _, x: x + 1, x)

    def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, calls, lambda _, a: a @ b, a)

    array = jnp.zeros(count, jnp.float32)
    copying = jax.jit(copy, donate_argnums=0)

    def copy_in_place() -> jax.Array:
        nonlocal array
        array = copying(array)
        return array

    key = jax.random.key(0)  # random: products of zeros take less power, and so less time
    matrix = (jax.random.normal(key, (side, side)) * side**-0.5).astype(dtype)
    multiplying = jax.jit(multiply)
    return Roofline(
        2 * 4 * count * calls / _fastest(copy_in_place),
        2 * side**3 * calls / _fastest(lambda: multiplying(matrix, matrix)),
    )


def _fastest(function: Callable[[], jax.Array]) -> float:
    """The least seconds of a call, after one that compiles."""
    function().block_until_ready()
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        function().block_until_ready()
        times.append(time.perf_counter() - started)
    return min(times)
