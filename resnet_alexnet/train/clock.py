"""The clock of a run: what its time goes into, for metrics.jsonl."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import TracebackType

import jax

from resnet_alexnet.workdir.goodput import TIME, seconds_fields

_COMPILATION = "/jax/core/compile/"  # how the names of jax's events of tracing, lowering and compiling begin


class RunClock:
    """Divides the time of a run into the parts of `goodput.PARTS`, without gaps; a context manager.

    The loop says which part begins. Compilation is what jax reports, in whichever part it happens. The time of the
    steps is that in which the device computed; the rest of it, in which the device was idle, is a part of its own.

    Attributes:
        began: the wall-clock time (Unix seconds) at which the run began.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts in the part "start"; `clock` gives seconds since any fixed moment."""
        self.began = time.time()
        self._clock = clock
        self._part, self._since = "start", clock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._spans: list[tuple[float, float]] = []  # of compilation, in order, without overlaps
        self._started = self._since
        self._busy: Callable[[], float] = lambda: 0.0
        self._busy_before, self._idle = 0.0, "other"

    def watch_steps(self, busy: Callable[[], float], *, resident: bool) -> None:
        """Prepares for the part "steps".

        Args:
            busy: the seconds so far in which the device had steps to compute.
            resident: whether the data is kept on the device, which then never waits for input.
        """
        self._busy, self._busy_before, self._idle = busy, busy(), "other" if resident else "input_wait"

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._started

    def switch(self, part: str) -> str:
        """From now on the time goes into `part`. Returns the part before."""
        now = self._clock()
        compilation = sum(end - max(begin, self._since) for begin, end in self._spans if end > self._since)
        self._spans.clear()
        rest = max(0.0, now - self._since - compilation)
        self._seconds["compile"] += now - self._since - rest
        if self._part == "steps":  # the device counts as busy while its step is compiled
            busy = self._busy()
            computed = min(max(busy - self._busy_before - compilation, 0.0), rest)
            self._seconds["steps"] += computed
            self._seconds[self._idle] += rest - computed
            self._busy_before = busy
        else:
            self._seconds[self._part] += rest
        before, self._part, self._since = self._part, part, now
        return before

    @contextlib.contextmanager
    def during(self, part: str) -> Iterator[None]:
        """Inside the `with` block, the time goes into `part`."""
        before = self.switch(part)
        try:
            yield
        finally:
            self.switch(before)

    def take(self) -> dict[str, float]:
        """The fields for a line of metrics.jsonl: the time, and the seconds by part since the last call."""
        self.switch(self._part)
        fields = {TIME: round(self.began + self._since - self._started, 3), **seconds_fields(self._seconds)}
        self._seconds.clear()
        return fields

    def _note(self, event: str, duration_secs: float, **_: object) -> None:
        """Notes a span of compilation. Spans may lie inside others, which then end later."""
        if event.startswith(_COMPILATION):
            end = self._clock()
            begin = end - duration_secs
            while self._spans and self._spans[-1][0] >= begin:
                self._spans.pop()
            self._spans.append((max(begin, self._spans[-1][1]) if self._spans else begin, end))

    def __enter__(self) -> "RunClock":
        jax.monitoring.register_event_duration_secs_listener(self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        jax.monitoring.unregister_event_duration_listener(self._note)
