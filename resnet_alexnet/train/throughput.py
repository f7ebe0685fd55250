"""Training throughput, and how long the device waits for input."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

# Dispatched but not done: enough to hide the host's work, few enough to bound memory for batches. On a CPU a step may
# take seconds, and stopping the run waits for all of them.
STEPS_IN_FLIGHT = 8
STEPS_IN_FLIGHT_ON_CPU = 2


class Result(Protocol):
    """The result of a dispatched computation, which can be waited for, such as a `jax.Array`."""

    def block_until_ready(self) -> object:
        """Returns once the result is computed."""
        ...


@dataclass(frozen=True)
class Throughput:
    """The throughput over the steps since the last restart of the meter.

    Attributes:
        images_per_second: of the run, by wall-clock time.
        step_images_per_second: of the device alone, by the time that its steps took.
        input_wait_percent: percent of the wall-clock time in which the device was idle, waiting for a batch.
    """

    images_per_second: float
    step_images_per_second: float
    input_wait_percent: float


class ThroughputMeter:
    """Measures throughput and bounds the number of steps in flight; a context manager.

    A thread waits for the steps in order, so the end of each is known without blocking the loop.
    """

    def __init__(
        self,
        batch_size: int,
        step: int,
        *,
        in_flight: int = STEPS_IN_FLIGHT,
        report: Callable[[int], None] = lambda step: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Prepares; entering starts the thread.

        Args:
            batch_size: images per step.
            step: steps done before.
            in_flight: the greatest number of dispatches in flight.
            report: called by the thread with the number of steps done, whenever some are finished.
            clock: seconds since any fixed moment.
        """
        self._clock = clock
        self._report = report
        self._finished = step
        self._batch_size = batch_size
        self._mark: tuple[int, float] | None = None  # None until the first restart: the first steps include compilation
        self._step = step
        self._busy = 0.0  # seconds of computation on the device since the mark
        self.busy_seconds = 0.0  # since the beginning; the first steps include compilation
        self._error: BaseException | None = None
        self._slots = threading.Semaphore(in_flight)
        self._begun: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._dispatched: queue.Queue[tuple[int, Result] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._wait_for_steps, name="throughput", daemon=True)

    def begin_step(self) -> None:
        """Call right before dispatching a step: waits until fewer than `in_flight` steps are in flight.

        Raises:
            Exception: the error of a step in flight that failed.
        """
        self._slots.acquire()
        if self._error is not None:
            raise self._error
        self._begun.put(self._clock())

    def end_step(self, step: int, result: Result) -> None:
        """Call right after dispatching a step: `step` steps are done once `result` is ready."""
        self._step = step
        self._dispatched.put((step, result))

    @property
    def pending(self) -> int:
        """The number of steps in flight."""
        return self._step - self._finished

    def wait(self) -> None:
        """Waits for the steps in flight.

        Raises:
            Exception: the error of one that failed.
        """
        self._dispatched.join()
        if self._error is not None:
            raise self._error

    def restart(self) -> None:
        """Waits for the steps in flight, and measures from here on."""
        self.wait()
        self._mark, self._busy = (self._step, self._clock()), 0.0

    def measure(self) -> Throughput | None:
        """Waits for the steps in flight; the throughput since `restart`, None before it or without a step since."""
        self.wait()
        if self._mark is None or self._step == self._mark[0]:
            return None
        seconds = self._clock() - self._mark[1]
        images = (self._step - self._mark[0]) * self._batch_size
        busy = min(self._busy, seconds)
        return Throughput(images / seconds, images / busy, 100 * (1 - busy / seconds))

    def _wait_for_steps(self) -> None:
        done = -float("inf")
        while (dispatched := self._dispatched.get()) is not None:
            step, result = dispatched
            begun = self._begun.get()
            try:
                result.block_until_ready()
            except Exception as error:  # the loop's thread raises it
                self._error = error
            else:
                self._report(step)
            last, done = done, self._clock()
            self._busy += done - max(begun, last)
            self.busy_seconds += done - max(begun, last)
            self._finished = step
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
