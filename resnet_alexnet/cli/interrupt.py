"""SIGTERM and Ctrl-C as a question the loop asks between steps."""

import signal
import threading
from types import FrameType, TracebackType

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
