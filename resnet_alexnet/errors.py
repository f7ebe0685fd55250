"""Errors that are reported to the user in one line, without a traceback."""

import contextlib
import difflib
import errno
import os
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

XLA_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


class InputError(ValueError):
    """Bad input: a config, flag, file or argument. Exit code 2.

    The message says in one line what is wrong, where, what is allowed, and what to do.
    """


def printable(text: str) -> str:
    r"""Returns text from outside, such as the name of a file or a class, so that a terminal shows it on one line.

    Whatever else a terminal could obey becomes an escape, such as \x1b or \u202e: control characters, line ends, marks
    that change the direction of writing, and bytes of file names that are not UTF-8. Everything that a person is shown
    and that comes from files goes through here. Where rich prints, also pass it as `Text`, which is no markup.
    """
    return "".join(letter if _is_printable(letter) else _escape(letter) for letter in text)


def list_names(names: Sequence[str]) -> str:
    """Lists the first five names, printable, and the number of further names."""
    return ", ".join(map(printable, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _is_printable(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # the spaces of other scripts


def _escape(letter: str) -> str:
    if 0xDC80 <= ord(letter) <= 0xDCFF:  # how Python stands for a byte that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


class TrainingError(RuntimeError):
    """A failure during a run, such as a loss that is not finite. The message is one line. Exit code 1."""


def remedy(error: Exception) -> str:
    """What to do about a file of a run that cannot be written."""
    full = any(
        getattr(error, "errno", None) == number or os.strerror(number) in str(error)  # TensorStore has the text only
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    )
    first = "free some space there" if full else "make the folder writable"
    return f"{first} and run the same command again; it resumes from the last checkpoint, if there is one"


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
    """Returns the hint ", did you mean 'x'?" with the allowed name closest to `name`, or "" if none is close.

    The closest is the one that the fewest edits of a letter lead to, and of these the one with the most in common.
    """
    matches = difflib.get_close_matches(name, list(allowed), n=8)
    return f", did you mean {min(matches, key=lambda match: edits(name, match))!r}?" if matches else ""


def edits(a: str, b: str) -> int:
    """The number of letters to insert, delete, replace or swap with the next, to make one name of another."""
    rows = [list(range(len(b) + 1))]
    for i, letter in enumerate(a):
        row = [i + 1]
        for j, other in enumerate(b):
            fewest = min(row[j] + 1, rows[-1][j + 1] + 1, rows[-1][j] + (letter != other))
            if i and j and (letter, other) == (b[j - 1], a[i - 1]):
                fewest = min(fewest, rows[-2][j - 1] + 1)
            row.append(fewest)
        rows.append(row)
    return rows[-1][-1]


def check_name(what: str, name: object, allowed: Iterable[object]) -> None:
    """Raises InputError unless `name` is in `allowed`. The message suggests the closest name and lists all of them."""
    allowed = list(allowed)
    if name not in allowed:
        hint = nearest(str(name), map(str, allowed))
        raise InputError(f"{what} is {name!r}{hint} (allowed: {', '.join(map(str, allowed))})")


class InterruptedRunError(RuntimeError):
    """A run that a signal or lost output stopped, after saving. Exit code 75 ("try again later") for SIGTERM."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


def shorten(text: str, length: int) -> str:
    """Text of at most `length` characters; the middle of a longer one is left out, because ends tell names apart."""
    if len(text) <= length:
        return text
    end = (length - 1) * 2 // 3
    return f"{text[: length - 1 - end]}…{text[-end:]}"
