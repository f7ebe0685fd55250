"""XLA's kernels of the CPU as users' programs have them; those of the tests compile in half the time, see conftest."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from resnet_alexnet.parallel import compiling

FUSED = {"xla_cpu_use_fusion_emitters": True}  # an option for `jax.jit`


@contextlib.contextmanager
def fused() -> Iterator[None]:
    """Users' kernels for the steps that are created, and the processes that are started, in the `with` block.

    Two programs that compute the same have the same bits with them only.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "_ON_CPU", (*compiling._ON_CPU, FUSED))
        patch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} --xla_cpu_use_fusion_emitters=true")
        compiling._known_on_cpu.cache_clear()
        yield
    compiling._known_on_cpu.cache_clear()
