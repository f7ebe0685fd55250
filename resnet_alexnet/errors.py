"""Errors that are reported to the user in one line, without a traceback."""

import contextlib
import difflib
import textwrap
from collections.abc import Iterable, Iterator

XLA_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


class InputError(ValueError):
    """Bad input: a config, flag, file or argument. Exit code 2.

    The message says in one line what is wrong, where, what is allowed, and what to do.
    """


class TrainingError(RuntimeError):
    """A failure during a run, such as a loss that is not finite. The message is one line. Exit code 1."""


class OutOfMemoryError(TrainingError):
    """The memory of the host or of a device does not suffice. The message names what to lower."""


@contextlib.contextmanager
def memory_needed(what: str, remedy: str) -> Iterator[None]:
    """Turns Python's and XLA's ways to run out of memory in the block into an `OutOfMemoryError`.

    Args:
        what: what needs the memory, such as "for a training step".
        remedy: what to do, such as "lower batch_size (128)".
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # XLA's is a RuntimeError that only its message tells from others
        if isinstance(error, TrainingError) or not (isinstance(error, MemoryError) or XLA_OUT_OF_MEMORY in str(error)):
            raise
        reason = textwrap.shorten(str(error), 150) or type(error).__name__
        raise OutOfMemoryError(f"out of memory {what}: {remedy} ({reason})") from error


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Returns the hint ", did you mean 'x'?" with the allowed name closest to `name`, or "" if none is close."""
    matches = difflib.get_close_matches(name, list(allowed), n=1)
    return f", did you mean {matches[0]!r}?" if matches else ""


def check_name(what: str, name: object, allowed: Iterable[object]) -> None:
    """Raises InputError unless `name` is in `allowed`. The message suggests the closest name and lists all of them."""
    allowed = list(allowed)
    if name not in allowed:
        hint = nearest(str(name), map(str, allowed))
        raise InputError(f"{what} is {name!r}{hint} (allowed: {', '.join(map(str, allowed))})")


class InterruptedRunError(RuntimeError):
    """A run that a signal stopped, after saving. Exit code 75 for SIGTERM ("try again later"), 130 for Ctrl-C."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code
