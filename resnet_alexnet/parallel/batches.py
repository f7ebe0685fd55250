"""The loop over host batches: puts them on the devices, runs a jitted function, yields results a few batches later."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np

from resnet_alexnet.parallel.mesh import Mesh, split_batch

_SECONDS_BETWEEN_LOOKS = 0.002
IN_FLIGHT = 2  # batches dispatched ahead: enough to hide the host's work, few enough to bound memory

Info = TypeVar("Info")
Result = TypeVar("Result")


def run_batches(
    function: Callable[[Info, dict[str, jax.Array]], Result],
    batches: Iterable[tuple[Info, dict[str, np.ndarray]]],
    mesh: Mesh,
) -> Iterator[tuple[Info, Result]]:
    """Runs a function on batches. Dispatch is asynchronous: devices compute while the caller handles a result.

    Args:
        function: (info, batch on the devices) -> result; dispatches the computation.
        batches: (info, batch on the host). `info` is passed through to the caller. The rows of the arrays are split
            over the devices.
        mesh: the devices.

    Yields:
        (info, result) of each batch, in order, once it is computed.
    """
    waiting: deque[tuple[Info, Result]] = deque()
    for info, batch in batches:
        waiting.append((info, function(info, split_batch(batch, mesh))))
        if len(waiting) > IN_FLIGHT:
            yield _computed(waiting.popleft())
    while waiting:
        yield _computed(waiting.popleft())


def _computed(result: Result) -> Result:
    """Waits for a result. Unlike a wait in jax, it can be interrupted by Ctrl-C."""
    arrays: list[Any] = [leaf for leaf in jax.tree.leaves(result) if isinstance(leaf, jax.Array)]
    while not all(array.is_ready() for array in arrays):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return jax.block_until_ready(result)  # raises the error of a computation that failed
