"""What is said before slow imports; and standard output that may go away during a run.

Its reader ends, its terminal is closed, its disk is full.
"""

import sys
from typing import Any


def announce(*following: str) -> None:
    """Tells a person at a terminal, before jax is imported, that this is under way, and what follows.

    What reads a pipe gets nothing before the input is checked.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        print(", ".join(["starting: importing jax", *following]), file=sys.stderr, flush=True)


class Output:
    """A text file that writes to standard output until that fails; after it, nothing is written and nothing raised.

    Attributes:
        error: why nothing is written any more; None as long as all is well.
    """

    def __init__(self, *, silent: bool = False) -> None:
        """With `silent`, nothing is ever written."""
        self.error: OSError | None = None
        self._stream = None if silent else sys.stdout  # None if it was closed from the start

    def write(self, text: str) -> int:
        """Writes some text."""
        try:
            if self.error is None and self._stream is not None:
                self._stream.write(text)
        except OSError as error:
            self.error = error
        return len(text)

    def flush(self) -> None:
        """Writes what is buffered."""
        try:
            if self.error is None and self._stream is not None:
                self._stream.flush()
        except OSError as error:
            self.error = error

    def __getattr__(self, name: str) -> Any:
        """What else is asked of a file, such as its encoding."""
        return getattr(self._stream, name)
