"""The one loop over host batches: onto the devices, through a jitted function, results a few batches behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import jax
import numpy as np

from resnet_alexnet.parallel.mesh import Mesh, split_batch

IN_FLIGHT = 2  # batches whose results are not fetched yet: enough to hide the host, few enough to bound their memory

Info = TypeVar("Info")
Result = TypeVar("Result")


def run_batches(
    function: Callable[[Info, dict[str, jax.Array]], Result],
    batches: Iterable[tuple[Info, dict[str, np.ndarray]]],
    mesh: Mesh,
) -> Iterator[tuple[Info, Result]]:
    """Yields (info, result) of each batch, in order.

    The devices work on the next batches while the caller looks at a result, since dispatching does not wait.

    Args:
        function: dispatches the computation of a batch.
        batches: what the caller wants to know of a batch when it gets the result, and its arrays, whose rows are split
            over the devices.
        mesh: the devices.
    """
    waiting: deque[tuple[Info, Result]] = deque()
    for info, batch in batches:
        waiting.append((info, function(info, split_batch(batch, mesh))))
        if len(waiting) > IN_FLIGHT:
            yield waiting.popleft()
    yield from waiting
