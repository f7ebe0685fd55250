"""Errors that are reported to the user in one line, without a traceback."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: a config, flag, file or argument. Exit code 2.

    The message says in one line what is wrong, where, what is allowed, and what to do.
    """


class TrainingError(RuntimeError):
    """A failure during a run, such as a loss that is not finite. The message is one line. Exit code 1."""


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
    """A run that a signal stopped, after saving. Exit code 75 for SIGTERM ("try again later"), 130 for Ctrl-C."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code
