"""The errors a user can cause or must be told of in one line."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: a config, flag, file or argument. The message names what, where and what is allowed. Exit code 2."""


class TrainingError(RuntimeError):
    """A run that went wrong by itself, such as a loss that is not finite. One line, exit code 1."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint ", did you mean 'x'?" for the allowed name closest to `name`; empty when none is close."""
    matches = difflib.get_close_matches(name, list(allowed), n=1)
    return f", did you mean {matches[0]!r}?" if matches else ""


def check_name(what: str, name: object, allowed: Iterable[object]) -> None:
    """Raises InputError unless `name` is one of `allowed`; the message lists them and names the nearest."""
    allowed = list(allowed)
    if name not in allowed:
        hint = nearest(str(name), map(str, allowed))
        raise InputError(f"{what} is {name!r}{hint} (allowed: {', '.join(map(str, allowed))})")


class InterruptedRunError(RuntimeError):
    """A run that a signal stopped after it was saved. Exit code 75 for SIGTERM ("try again later"), 130 for Ctrl-C."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code
