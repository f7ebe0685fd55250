"""Traces some training steps, for TensorBoard's profile plugin or Perfetto."""

from pathlib import Path
from types import TracebackType

import jax

WARM_UP = 2  # calls before the trace starts: the first call compiles


class Profile:
    """Traces `calls` dispatches of training steps into `folder`; a context manager. With 0 calls it does nothing."""

    def __init__(self, folder: Path, calls: int):
        self._folder, self._calls, self._done = folder, calls, 0

    def begin_call(self) -> None:
        """Call before each dispatch."""
        if self._calls and self._done == WARM_UP:
            jax.profiler.start_trace(self._folder)

    def end_call(self, result: jax.Array) -> None:
        """Call after each dispatch; waits for `result` if the trace ends here."""
        self._done += 1
        if self._calls and self._done == WARM_UP + self._calls:
            result.block_until_ready()
            self._stop()

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._calls = 0

    def __enter__(self) -> "Profile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._calls and self._done > WARM_UP:  # the run ended before the trace did
            self._stop()
