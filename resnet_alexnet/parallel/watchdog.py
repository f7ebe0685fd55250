"""A watch over a run of several processes: JAX never notices a process that is alive but stuck."""

import contextlib
import faulthandler
import os
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

_MEDIANS = 20  # times the median is too long
_SLOW = 10  # times the floor, for what compiles or writes
_TIMED = 5  # steps to have timed before their median counts; the first of them compile
_REMEMBERED = 100
_LOOKS = 20  # in the shortest limit
_MISSED = 5  # looks, after which the process itself was suspended


class Watchdog:
    """Ends the process if nothing is finished for too long; a context manager.

    The limit is the floor, or 20 times the median time between two finished dispatches of steps, if that is longer.
    For the first dispatches, which compile, and in blocks of `slow`, it is ten times the floor at least.
    """

    def __init__(
        self,
        seconds: float,
        *,
        name: str,
        step: int = 0,
        clock: Callable[[], float] = time.monotonic,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        """Prepares; entering begins to watch.

        Args:
            seconds: the floor of the limit; 0 for no watch.
            name: what this process is called in the message.
            step: steps done before.
            clock: seconds since any fixed moment.
            leave: called with the exit code, 1.
        """
        self._seconds, self._name, self._step = seconds, name, step
        self._clock, self._leave = clock, leave
        self._last = self._looked = clock()
        self._times: deque[float] = deque(maxlen=_REMEMBERED)
        self._timed = False  # whether the time since the last beat is that of a step alone
        self._slow = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    @property
    def limit(self) -> float:
        """Seconds that may pass now without a beat."""
        known = len(self._times) >= _TIMED
        steps = _MEDIANS * statistics.median(self._times) if known else 0.0
        return max(self._seconds if known and not self._slow else _SLOW * self._seconds, steps)

    def step(self, step: int) -> None:
        """Tells that a dispatch of steps is finished, `step` steps in all; from any thread."""
        now = self._clock()
        if self._timed:
            self._times.append(now - self._last)
        self._step, self._last, self._timed = step, now, not self._slow

    def beat(self) -> None:
        """Tells that something else is finished, such as a batch of an evaluation."""
        self._last, self._timed = self._clock(), False

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        """In the block things are done that may take longer than a step."""
        self.beat()
        self._slow += 1
        try:
            yield
        finally:
            self._slow -= 1
            self.beat()

    def __enter__(self) -> Self:
        self.beat()
        self._looked = self._last
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()

    def is_stuck(self) -> bool:
        """Whether nothing was finished for too long; asked often. Time in which nobody could ask does not count."""
        now = self._clock()
        missed, self._looked = now - self._looked, now
        if missed > _MISSED * self._seconds / _LOOKS:
            self.beat()
        return now - self._last > self.limit

    def _watch(self) -> None:
        while not self._ends.wait(self._seconds / _LOOKS):
            if self.is_stuck():
                self._give_up(self._clock() - self._last)
                return

    def _give_up(self, seconds: float) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error may be closed
            faulthandler.dump_traceback(sys.stderr, all_threads=True)
            print(
                f"{self._name}: error: nothing finished for {seconds:.0f} s after step {self._step}: this process or "
                "another one is stuck; above is where each thread is. Run the same command again to resume "
                "(hosts.watchdog_seconds sets the limit)",
                file=sys.stderr,
                flush=True,
            )
        self._leave(1)
