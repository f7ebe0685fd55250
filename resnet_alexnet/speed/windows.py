"""Times something in windows, by the clock and by CPU time, and sums the windows up."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_DIGITS = 4  # of the numbers that are reported


@dataclass(frozen=True)
class Window:
    """A measured stretch of time.

    Attributes:
        images: images that were processed in it.
        seconds: by the clock.
        cpu_seconds: CPU time of all threads of this process.
    """

    images: int
    seconds: float
    cpu_seconds: float

    @property
    def throughput(self) -> float:
        """Images per second."""
        return self.images / self.seconds

    @property
    def busy_cores(self) -> float:
        """How many cores were busy, on average."""
        return self.cpu_seconds / self.seconds


def time_window(run: Callable[[int], object], steps: int, *, images_per_step: int) -> Window:
    """Times `run(steps)`, which returns when the steps are done."""
    started, started_cpu = time.perf_counter(), time.process_time()
    run(steps)
    return Window(steps * images_per_step, time.perf_counter() - started, time.process_time() - started_cpu)


def time_windows(
    run: Callable[[int], object], *, images_per_step: int, windows: int, seconds: float, warm_up: int = 2
) -> list[Window]:
    """Times `windows` windows of as many steps as take at least `seconds` seconds, after some steps to warm up.

    Args:
        run: takes a number of steps, and returns when they are done.
        images_per_step: images that a step processes.
        windows: number of windows.
        seconds: least length of a window.
        warm_up: steps before the first window. The last of them tells how long a step takes.
    """
    for _ in range(warm_up):
        first = time_window(run, 1, images_per_step=images_per_step)
    steps = max(1, math.ceil(seconds / first.seconds))
    return [time_window(run, steps, images_per_step=images_per_step) for _ in range(windows)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns median, minimum and maximum, rounded to four digits."""
    return {
        name: float(f"{function(values):.{_DIGITS}g}")
        for name, function in (("median", statistics.median), ("min", min), ("max", max))
    }


def format_spread(values: dict[str, float], *, digits: int | None = None) -> str:
    """Formats the values of `spread`, such as "1,234 (1,200 to 1,250)"; by default with two digits below 10."""
    if digits is None:
        digits = 0 if values["median"] >= 10 else 2
    return "{median:,.{d}f} ({min:,.{d}f} to {max:,.{d}f})".format(**values, d=digits)
