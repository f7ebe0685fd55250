"""Signals before a command has begun: one line instead of Python's traceback. It imports nothing that takes time."""

import os
import signal
from types import FrameType
from typing import NoReturn

# EX_TEMPFAIL of sysexits.h: run it again; 128 + SIGINT. SIGHUP: the terminal is gone.
EXIT_CODES = {signal.SIGTERM: 75, signal.SIGHUP: 75, signal.SIGINT: 130}


def end_at_once() -> None:
    """From here on a signal ends the process, until something else handles it: nothing has been done yet."""
    for number in handled():
        signal.signal(number, _end)


def handled() -> list[signal.Signals]:
    """The signals that commands handle. SIGHUP stays ignored under nohup."""
    return [n for n in EXIT_CODES if n is not signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]


def interrupted(number: int) -> str:
    """What a command says that a signal ended."""
    if number == signal.SIGINT:
        return "interrupted"
    return f"{signal.Signals(number).name}: stopped; run the same command again"


def _end(number: int, frame: FrameType | None) -> NoReturn:
    try:
        os.write(2, f"{interrupted(number)}\n".encode())
    finally:
        os._exit(EXIT_CODES[signal.Signals(number)])
