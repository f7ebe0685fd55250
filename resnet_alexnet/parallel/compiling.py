"""What XLA is told about the programs of steps."""

import functools
from typing import Any

import jax
from jax.sharding import Mesh

# Sets of options, each left out if this version of XLA does not know it.
_ON_CPU: tuple[dict[str, Any], ...] = (
    # Products and sums by XLA's YNNPACK, convolutions not: several shapes of its convolutions run on one thread.
    {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"},
    # Convolutions by oneDNN where XLA can call it, as with jax 0.12 on x86; else, as with jax 0.10, by Eigen.
    {"xla_cpu_use_onednn": True, "xla_cpu_experimental_onednn_custom_call": True},
)


def compiler_options(mesh: Mesh) -> dict[str, Any]:
    """Options for `jax.jit` of a function on the devices of a mesh, for speed only."""
    return dict(_known_on_cpu()) if mesh.devices.flat[0].platform == "cpu" else {}


@functools.cache
def _known_on_cpu() -> dict[str, Any]:
    return {name: value for options in _ON_CPU if _is_known(options) for name, value in options.items()}


def _is_known(options: dict[str, Any]) -> bool:
    """Whether this version of XLA knows options: a program with unknown ones does not compile."""
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
