"""Memory and lifetimes of the processes of a line."""

from collections.abc import Callable, Sequence
from typing import Any

from rounds import Line, Side

from resnet_alexnet.speed.windows import spread

LIFETIME = (  # the values that `lifetimes` measures
    "first_batch_seconds",
    "workers_cpu_seconds",
    "megabytes",
    "megabytes_of_largest_worker",
    "processes_left",
    "shared_memory_left",
)


def measure_memory(line: Line, *, batch: int, images: int, rounds: int) -> dict[str, Any]:
    """Starts a process and measures the time to its first batch, and its memory after each of `rounds` rounds.

    A round has `images` images; the first batch has `batch`.
    """
    with Side(line, batch) as side:
        first_seconds, sizes = side.wait()["first_seconds"], []
        for _ in range(rounds):
            side.run(images)
            sizes.append(side.megabytes())
    totals = [round(total) for total, _ in sizes]
    return {
        "name": line.name,
        "first_batch_seconds": round(first_seconds, 2),
        "megabytes_after_first_round": totals[0],
        "megabytes_after_last_round": totals[-1],
        "megabytes_most": max(totals),
        "megabytes_of_largest_worker": round(max(largest for _, largest in sizes)),
    }


def lifetimes(
    lines: Sequence[Line], *, batch: int, images: int, starts: int, tick: Callable[[], object]
) -> list[dict[str, Any]]:
    """Starts all lines in turn and kills them; measures time to the first batch, memory, and what is left behind.

    Args:
        lines: lines to measure.
        batch: images in the first batch.
        images: images to read before measuring memory.
        starts: number of starts of each line.
        tick: called after each start.
    """
    found: dict[str, list[tuple[float, ...]]] = {line.name: [] for line in lines}
    for _ in range(starts):
        for line in lines:
            with Side(line, batch) as side:
                start = side.wait()["first_seconds"], side.children_seconds()
                side.run(images)
                found[line.name].append((*start, *side.megabytes(), *side.kill()))
            tick()
    return [
        {
            "name": name,
            "starts": starts,
            **{key: spread(values) for key, values in zip(LIFETIME, zip(*rows, strict=True), strict=True)},
        }
        for name, rows in found.items()
    ]
