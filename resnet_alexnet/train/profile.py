"""A trace of some training steps, for TensorBoard's profile plugin or Perfetto."""

from pathlib import Path
from types import TracebackType

import jax

WARM_UP = 2  # calls before the trace begins: the first one compiles


class Profile:
    """Records a trace of `calls` dispatches of training steps in `folder`; a context manager. 0 records nothing."""

    def __init__(self, folder: Path, calls: int):
        self._folder, self._calls, self._done = folder, calls, 0

    def begin_call(self) -> None:
        """To be called before each dispatch."""
        if self._calls and self._done == WARM_UP:
            jax.profiler.start_trace(self._folder)

    def end_call(self, result: jax.Array) -> None:
        """To be called after each dispatch; waits for `result` if the trace ends here."""
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
        if self._calls and self._done > WARM_UP:  # the run ended first
            self._stop()
