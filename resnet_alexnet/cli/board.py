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
        if self._bars is None:
            self.say(f"started: {name}")
        else:
            shown = shorten(printable(name), self._bars.console.width // _SHARE)
            self._tasks[name] = self._bars.add_task(shown, total=steps, text="")

    def update(self, name: str, step: int, text: str) -> None:
        """A run that began is at this step; `text` says more."""
        if self._bars is not None:
            self._bars.update(self._tasks[name], completed=step, text=printable(text))

    def end(self, name: str, text: str, *, done: bool) -> None:
        """A run that began has ended; `done`: it is complete."""
        self.done += done
        if self._bars is not None:
            self._bars.remove_task(self._tasks.pop(name))
            self._bars.update(self._all, completed=self.done)
        seconds = time.monotonic() - self._started.pop(name)
        self.say(f"{self.done}/{self.total} done: {name}: {text}, {seconds:.0f} s")

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
