"""SIGTERM and Ctrl-C, noted until the loop asks or raised at once."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import NoReturn

from resnet_alexnet.errors import InterruptedRunError

EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}  # EX_TEMPFAIL of sysexits.h: run it again; 128 + SIGINT


class Interrupt:
    """A context manager that notes the first SIGTERM or SIGINT; the second one acts as if nobody listened.

    Python runs signal handlers in the main thread only: elsewhere nothing is noted.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._previous = {}

    @property
    def exit_code(self) -> int:
        """The exit code of a run that was saved and stopped by the noted signal."""
        if self.signal is None:
            raise RuntimeError("no signal was noted")
        return EXIT_CODES[self.signal]

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in EXIT_CODES}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()


@contextlib.contextmanager
def stoppable(state: Callable[[], str]) -> Iterator[None]:
    """Stops the block on SIGTERM and Ctrl-C, wherever it is; for the main thread.

    Args:
        state: says what is done so far, such as "stopped: 3 of 8 files are complete".

    Raises:
        InterruptedRunError: one of the two came. The message is the state and how to continue.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt(number)  # an exception that no reader mistakes for a damaged file

    previous = {number: signal.signal(number, stop) for number in EXIT_CODES}
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise InterruptedRunError(
            f"{state()}; run the same command again to resume", EXIT_CODES[interrupt.args[0]]
        ) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
