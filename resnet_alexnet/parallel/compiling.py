"""What XLA is told about the programs of steps."""

import functools
from typing import Any

import jax
from jax.sharding import Mesh

# Products and sums by XLA's library YNNPACK, convolutions not: several shapes of its convolutions run on one thread.
_ON_CPU: dict[str, Any] = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE",
}


def compiler_options(mesh: Mesh) -> dict[str, Any]:
    """Options for `jax.jit` of a function on the devices of a mesh, for speed only."""
    return _known_on_cpu() if mesh.devices.flat[0].platform == "cpu" else {}


@functools.cache
def _known_on_cpu() -> dict[str, Any]:
    """The options for CPUs if this version of XLA knows them: a program with unknown ones does not compile."""
    try:
        jax.jit(lambda: 0, compiler_options=_ON_CPU).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _ON_CPU
