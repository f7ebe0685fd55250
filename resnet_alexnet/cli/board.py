"""What a person sees of many runs: live bars on a terminal, a line for each run anywhere else."""

import sys
import time
from types import TracebackType
from typing import Self

from rich import progress
from rich.console import Console
from rich.table import Column

from resnet_alexnet.cli.progress import is_live
from resnet_alexnet.errors import printable, shorten

_UNITS = ((3600, "h"), (60, "min"), (1, "s"))
_SHARE = 3  # of the terminal's width, one part is for the name of a run


class Board:
    """Shows how many runs are done, and how far those under way are; a context manager.

    On a terminal: a bar of all runs, and a bar for each run under way. Anywhere else: a line when a run starts and when
    it ends.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        """Prepares; entering shows the bars.

        Args:
            total: how many runs there are.
            done: how many of them are done already.
        """
        self.total, self.done = total, done
        self._bars: progress.Progress | None = None
        self._tasks: dict[str, progress.TaskID] = {}
        self._started: dict[str, float] = {}
        self._steps: dict[str, int] = {}
        self._shares: dict[str, float] = {}  # of the runs under way, how much is done
        self._began, self._done_before = time.monotonic(), done
        if is_live():
            self._bars = progress.Progress(
                progress.TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
                progress.BarColumn(bar_width=None),
                progress.TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=Column(no_wrap=True)),
                progress.TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True)),
                console=Console(file=sys.stdout),
                refresh_per_second=4,
                expand=True,
            )
            self._all = self._bars.add_task("runs", total=total, completed=done, text="")

    def start(self, name: str, steps: int) -> None:
        """A run of this many steps begins."""
        self._started[name] = time.monotonic()
        self._steps[name], self._shares[name] = steps, 0.0
        if self._bars is None:
            self.say(f"started: {name}")
        else:
            shown = shorten(printable(name), self._bars.console.width // _SHARE)
            self._tasks[name] = self._bars.add_task(shown, total=steps, text="")

    def update(self, name: str, step: int, text: str) -> None:
        """A run that began is at this step; `text` says more."""
        self._shares[name] = min(step / max(self._steps[name], 1), 1.0)
        if self._bars is not None:
            self._bars.update(self._tasks[name], completed=step, text=printable(text))
            self._bars.update(self._all, text=self._left())

    def end(self, name: str, text: str, *, done: bool) -> None:
        """A run that began has ended; `done`: it is complete."""
        self.done += done
        del self._shares[name]
        left = self._left()
        if self._bars is not None:
            self._bars.remove_task(self._tasks.pop(name))
            self._bars.update(self._all, completed=self.done, text=left)
        seconds = time.monotonic() - self._started.pop(name)
        self.say(f"{self.done}/{self.total} done: {name}: {text}, {seconds:.0f} s{f'; {left}' if left else ''}")

    def _left(self) -> str:
        """How long the rest will take, by what was done since the start; empty before the first run is done."""
        done = self.done - self._done_before
        if not done or self.done == self.total:
            return ""
        share = sum(self._shares.values())
        seconds = (time.monotonic() - self._began) * (self.total - self.done - share) / (done + share)
        unit, text = next((size, text) for size, text in _UNITS if seconds >= size or size == 1)
        return f"about {seconds / unit:.{int(unit == 3600)}f} {text} left"

    def say(self, text: str) -> None:
        """Prints a message, above the bars."""
        text = "\n".join(map(printable, text.split("\n")))
        if self._bars is None:
            print(text, flush=True)
        else:
            self._bars.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
