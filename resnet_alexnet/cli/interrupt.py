"""SIGTERM, SIGHUP and Ctrl-C: noted until the loop asks, raised at once, or the end of the process.

Python handles a signal only between two steps of the main thread, which may compile for a minute. So here a thread of
its own hears of signals, and can answer or end the process at once.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from types import FrameType, TracebackType
from typing import NoReturn

from resnet_alexnet.cli.early import EXIT_CODES, handled, interrupted
from resnet_alexnet.errors import InterruptedRunError

_SECONDS_TO_END = 2.0  # that a command may take to clean up after a signal


class _Signaled(KeyboardInterrupt):
    """A signal, whose number is the argument.

    Not KeyboardInterrupt itself: if that passes through `exec`, as in the middle of an import, Python ends the process
    by SIGINT, whatever the exit code.
    """


class Interrupt:
    """A context manager that notes the first of these signals and answers at once; the second ends the process.

    Python allows this in the main thread only: elsewhere nothing is noted.
    """

    def __init__(
        self,
        answer: Callable[[signal.Signals], None],
        left: Callable[[], str],
        *,
        signals: Collection[signal.Signals] = tuple(EXIT_CODES),
    ) -> None:
        """Prepares; entering begins to listen.

        Args:
            answer: called by another thread, at once, with the first signal.
            left: says, at the second signal, how the process leaves things.
            signals: which of them to listen to; the others stay with those who handle them.
        """
        self._signals = signals
        self.signal: signal.Signals | None = None
        self._answer, self._left = answer, left
        self._heard = 0
        self._raises = False
        self._stack = contextlib.ExitStack()

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """In the block, the first signal is noted and raises KeyboardInterrupt, also if it came before."""
        self._raises = True
        try:
            if self.signal is not None:
                raise _Signaled(self.signal)
            yield
        finally:
            self._raises = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)
        if self._raises:
            self._raises = False
            raise _Signaled(number)

    def _hear(self, number: signal.Signals) -> None:
        self._heard += 1
        if self._heard == 1:
            self._answer(number)
        else:
            _end(EXIT_CODES[number], self._left())

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._stack.enter_context(_handled_by(self._note, self._signals))
            self._stack.enter_context(_heard_by(self._hear, self._signals))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


@contextlib.contextmanager
def stoppable(state: Callable[[], str]) -> Iterator[None]:
    """Stops the block on SIGTERM, SIGHUP and Ctrl-C, wherever it is; for the main thread.

    Args:
        state: says what is done so far, such as "stopped: 3 of 8 files are complete".

    Raises:
        InterruptedRunError: one of them came. The message is the state and how to continue.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _Signaled(number)  # an exception that no reader mistakes for a damaged file

    try:
        with _handled_by(stop), _heard_by(lambda number: None):  # cleaning up may take as long as it needs
            yield
    except KeyboardInterrupt as interrupt:
        raise InterruptedRunError(
            f"{state()}; run the same command again to resume", EXIT_CODES[interrupt.args[0]]
        ) from None


@contextlib.contextmanager
def ends_promptly() -> Iterator[None]:
    """The first signal in the block raises KeyboardInterrupt, with its number; from then on others change nothing.

    The process is gone _SECONDS_TO_END later, even if a long call has not returned.
    """
    raised: list[int] = []
    left = False

    def note(number: int, frame: FrameType | None) -> None:
        raised.append(number)
        if len(raised) == 1:
            raise _Signaled(number)

    def hear(number: signal.Signals) -> None:
        time.sleep(_SECONDS_TO_END)
        _end(EXIT_CODES[number], "" if left else interrupted(number))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        with _handled_by(note), _heard_by(hear):
            yield
    finally:
        left = True  # the code that catches the exception says so
        if raised:
            ignore_signals()


def ignore_signals() -> None:
    """From here on no signal changes the exit code of a process that is about to end."""
    for number in EXIT_CODES:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _handled_by(
    handler: Callable[[int, FrameType | None], object], signals: Collection[signal.Signals] = tuple(EXIT_CODES)
) -> Iterator[None]:
    """Python's handler of those of the signals in the block that are not ignored under nohup."""
    previous = {number: signal.signal(number, handler) for number in handled() if number in signals}
    try:
        yield
    finally:
        for number, earlier in previous.items():
            signal.signal(number, earlier)  # pyright: ignore[reportArgumentType]


@contextlib.contextmanager
def _heard_by(
    hear: Callable[[signal.Signals], None], signals: Collection[signal.Signals] = tuple(EXIT_CODES)
) -> Iterator[None]:
    """Calls `hear` in a thread at each of those of the signals in the block that Python handles."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def listen() -> None:
        with open(reading, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                if number[0] in signals:
                    hear(signal.Signals(number[0]))

    threading.Thread(target=listen, name="signals", daemon=True).start()
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writing)  # which ends the thread


def _end(code: int, message: str) -> NoReturn:
    """Ends the process without any cleaning up, as a kill would."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout is not None and sys.stdout.isatty():
            os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # below a bar, and with the cursor that it hides
        if message:
            os.write(sys.stderr.fileno(), f"{message}\n".encode())
    os._exit(code)
