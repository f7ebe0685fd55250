"""How fast a run trains, and which side waits: the device for images, or the images for the device."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

STEPS_IN_FLIGHT = 8  # dispatched but not done: enough to hide the host, few enough to bound the memory of their batches


class Result(Protocol):
    """What a dispatched computation gives at once, and can be waited for."""

    def block_until_ready(self) -> object:
        """Returns when it is computed."""
        ...


@dataclass(frozen=True)
class Throughput:
    """Over the steps between two marks.

    Attributes:
        images_per_second: what the run got.
        step_images_per_second: what the device alone needs, from the time that its steps took.
        input_wait_percent: of the time, in which the device had nothing to do because no batch was there.
    """

    images_per_second: float
    step_images_per_second: float
    input_wait_percent: float


class ThroughputMeter:
    """Bounds the steps in flight and measures; a context manager.

    A thread waits for the steps in turn, so that each one's end is known without the loop waiting for it.
    """

    def __init__(self, batch_size: int, step: int, *, clock: Callable[[], float] = time.monotonic):
        self._clock = clock  # seconds since any fixed moment
        self._batch_size = batch_size
        self._mark: tuple[int, float] | None = None  # there is none before the first steps, for they are compiled
        self._step = step
        self._busy = 0.0  # seconds since the mark in which the device computed
        self._error: BaseException | None = None
        self._slots = threading.Semaphore(STEPS_IN_FLIGHT)
        self._begun: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._dispatched: queue.Queue[Result | None] = queue.Queue()
        self._thread = threading.Thread(target=self._wait_for_steps, name="pace", daemon=True)

    def begin_step(self) -> None:
        """Waits until few enough steps are in flight; to be called right before a step is dispatched.

        Raises:
            Exception: what a step in flight failed with.
        """
        self._slots.acquire()
        if self._error is not None:
            raise self._error
        self._begun.put(self._clock())

    def end_step(self, step: int, result: Result) -> None:
        """Notes that the step is dispatched; `step` steps are done once `result` is ready."""
        self._step = step
        self._dispatched.put(result)

    def restart(self) -> None:
        """Measures from here; all steps must be done."""
        self._dispatched.join()
        self._mark, self._busy = (self._step, self._clock()), 0.0

    def rates(self) -> Throughput | None:
        """The rates since the last mark, None before there is one; all steps must be done."""
        self._dispatched.join()
        if self._mark is None or self._step == self._mark[0]:
            return None
        seconds = self._clock() - self._mark[1]
        images = (self._step - self._mark[0]) * self._batch_size
        busy = min(self._busy, seconds)
        return Throughput(images / seconds, images / busy, 100 * (1 - busy / seconds))

    def _wait_for_steps(self) -> None:
        done = -float("inf")
        while (result := self._dispatched.get()) is not None:
            begun = self._begun.get()
            try:
                result.block_until_ready()
            except Exception as error:  # it is the loop's to raise, which would meet it at its next look at the state
                self._error = error
            last, done = done, self._clock()
            self._busy += done - max(begun, last)
            self._slots.release()
            self._dispatched.task_done()

    def __enter__(self) -> "ThroughputMeter":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dispatched.put(None)
        self._thread.join()
