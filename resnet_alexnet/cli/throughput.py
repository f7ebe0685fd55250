"""The throughput of a loop, and the time that it has left."""

from collections import deque
from collections.abc import Callable

_RATE_SECONDS = 20.0  # over which a rate is averaged, or two marks if they are further apart


class Throughput:
    """The throughput of a loop, from the times at which its parts were done."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # The first mark is set after the first steps, so that compiling them does not count.
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None
        self._earlier = 0.0
        self._recent: deque[tuple[int, float]] = deque()

    def mark(self, done: int) -> None:
        """Notes that `done` are done by now."""
        now = (done, self._clock())
        self._first, self._last = self._first or now, now
        self._recent.append(now)
        while len(self._recent) > 2 and self._recent[1][1] < now[1] - _RATE_SECONDS:
            self._recent.popleft()

    def pause(self) -> None:
        """Notes that the time until the next mark does not count in the rate, but in the time left."""
        self._earlier = self.rate
        self._recent.clear()

    @property
    def begun(self) -> bool:
        """Whether there is a mark."""
        return self._first is not None

    @property
    def rate(self) -> float:
        """How many were done a second, lately, or before the last pause; 0.0 before the second mark."""
        marks = [*self._recent]
        seconds = marks[-1][1] - marks[0][1] if marks else 0.0
        return (marks[-1][0] - marks[0][0]) / seconds if seconds > 0 else self._earlier

    def seconds_left(self, total: int) -> float | None:
        """Estimates the seconds until all are done from the mean since the first mark; None before the second."""
        if self._first is None or self._last is None or self._last[0] <= self._first[0]:
            return None
        (first, since), (last, until) = self._first, self._last
        per_one = (until - since) / (last - first)
        return max(per_one * (total - last) - min(self._clock() - until, per_one), 0.0)
