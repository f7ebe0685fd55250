"""What a person sees of a run on standard output: a live bar on a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self, TypeVar

from rich import box, progress
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from resnet_alexnet.errors import printable

# Metrics in the order in which a log line shows them, and how it shows them.
_PHRASES: dict[str, Callable[[float], str]] = {
    "epoch": lambda epoch: f"epoch {epoch:.1f}",
    "train/loss": lambda loss: f"loss {_loss(loss)}",
    "train/top1_error": lambda error: f"error {error:.1f} %",
    "val/loss": lambda loss: f"val loss {_loss(loss)}",
    "val/top1_error": lambda error: f"val error {error:.1f} %",
    "val/top5_error": lambda error: f"val top-5 error {error:.1f} %",
    "test/loss": lambda loss: f"test loss {_loss(loss)}",
    "test/top1_error": lambda error: f"test error {error:.1f} %",
    "test/top5_error": lambda error: f"test top-5 error {error:.1f} %",
    "learning_rate": lambda rate: f"lr {rate:.3g}",
    "images_per_second": lambda speed: f"{_rate(speed)} images/s",
    "step_images_per_second": lambda speed: f"device needs {_rate(speed)}",
    "input_wait_percent": lambda percent: f"waits for input {percent:.0f} %",
}
Item = TypeVar("Item")
_ON_THE_BAR = ("train/loss", "train/top1_error", "images_per_second", "input_wait_percent")


class Progress:
    """Shows how far a run is; a context manager.

    On a terminal: one live bar with the latest training loss, error, images/s and time left; evaluations and
    messages are printed above it. Anywhere else (a file, a pipe, a dumb terminal): one plain line for each line
    of metrics.jsonl.
    """

    def __init__(self, total_steps: int, start_step: int = 0, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepares the bar; entering shows it.

        Args:
            total_steps: steps of the whole run.
            start_step: steps done before, in a run that resumes.
            clock: seconds since any fixed moment.
        """
        self.total_steps = total_steps
        self.step = start_step
        self._latest: dict[str, float] = {}
        self._clock = clock
        self._start = clock()
        # The first mark is set after the first steps, so that compiling them does not count in the time left.
        self._mark: tuple[int, float] | None = None
        self._bar = self._create_bar() if _is_live() else None

    def advance(self, step: int) -> None:
        """Tells that `step` updates are done. Cheap: the bar redraws by itself, a few times a second."""
        self.step = step
        if self._mark is None:
            self._mark = (step, self._clock())
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the metrics of a step; keys and units are those of metrics.jsonl."""
        self.advance(step)
        if self._bar is None:
            self.say(self._line(values))
            return
        self._latest.update({key: values[key] for key in _ON_THE_BAR if key in values})
        evaluated = {key: value for key, value in values.items() if key.startswith(("val/", "test/"))}
        if evaluated:
            epoch = {"epoch": values["epoch"]} if "epoch" in values else {}
            self.say("  ".join([f"step {step}", *_phrases({**epoch, **evaluated})]))

    def say(self, text: str) -> None:
        """Prints a message, above the bar where there is one."""
        text = "\n".join(map(printable, text.split("\n")))
        if self._bar is None:
            print(text, flush=True)
        else:
            self._bar.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _create_bar(self) -> progress.Progress:
        bar = progress.Progress(
            progress.TextColumn("{task.completed:.0f}/{task.total:.0f}", style="bold"),
            progress.BarColumn(bar_width=None),
            _StatusColumn(lambda task: self._status()),
            console=Console(file=sys.stdout),
            refresh_per_second=4,
            expand=True,
        )
        self._task = bar.add_task("", total=self.total_steps, completed=self.step)
        return bar

    def _line(self, values: Mapping[str, float]) -> str:
        parts = [f"step {self.step}/{self.total_steps}", *_phrases(values)]
        seconds = self._seconds_left()
        if seconds is not None:
            parts.append(f"eta {_duration(seconds)}")
        return "  ".join(parts)

    def _seconds_left(self) -> float | None:
        """Estimates seconds to the last step from the mean time per step; None before the second mark."""
        if self._mark is None or self.step <= self._mark[0]:
            return None
        first_step, first_time = self._mark
        per_step = (self._clock() - first_time) / (self.step - first_step)
        return per_step * max(self.total_steps - self.step, 0)

    def _status(self) -> str:
        """Says what stands to the right of the bar."""
        parts = _phrases(self._latest)
        seconds = self._seconds_left()
        if self.step >= self.total_steps:
            parts.append(f"took {_duration(self._clock() - self._start)}")
        elif seconds is not None:
            parts.append(f"{_duration(seconds)} left")
        return "  ".join(parts) or "starting"


class _StatusColumn(progress.ProgressColumn):
    """A column that asks for its text whenever the bar redraws."""

    def __init__(self, status: Callable[[progress.Task], str]) -> None:
        super().__init__(Column(no_wrap=True))
        self._ask = status

    def render(self, task: progress.Task) -> Text:
        return Text(self._ask(task))


def progress_bar(
    items: Iterable[Item],
    length: int,
    description: str,
    *,
    size: Callable[[Item], int] = lambda item: 1,
    line_seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """Passes items on and shows how many of `length` are done, how many a second, and the time left.

    On a terminal: a live bar, which is removed at the end. Anywhere else: nothing, or plain lines.

    Args:
        items: what is passed on; each counts as done when the next one is asked for.
        length: how many there are.
        description: what they are, in the plural.
        size: how many an item counts for.
        line_seconds: seconds between two plain lines; None for no lines.
        clock: seconds since any fixed moment.
    """
    if _is_live():
        yield from _with_bar(items, length, description, size)
    elif line_seconds is not None:
        yield from _with_lines(items, length, description, size, line_seconds, clock)
    else:
        yield from items


def _with_bar(items: Iterable[Item], length: int, description: str, size: Callable[[Item], int]) -> Iterator[Item]:
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=None),
        progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        _StatusColumn(lambda task: f"{_rate(task.speed)}/s" if task.speed else ""),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(file=sys.stdout), transient=True) as bar:
        task = bar.add_task(printable(description), total=length)
        for item in items:
            yield item
            bar.advance(task, size(item))


def _with_lines(
    items: Iterable[Item],
    length: int,
    description: str,
    size: Callable[[Item], int],
    seconds: float,
    clock: Callable[[], float],
) -> Iterator[Item]:
    done, printed, last = 0, 0, clock()
    for item in items:
        yield item
        done += size(item)
        now = clock()
        if done > printed and now - last > seconds:
            speed = (done - printed) / (now - last)
            left = _duration((length - done) / speed)
            print(f"{done:,} of {length:,} {description}  {_rate(speed)}/s  {left} left", flush=True)
            printed, last = done, now


def print_summary(title: str, rows: Iterable[tuple[str, object]]) -> None:
    """Prints a run's summary: a table on a terminal, a heading and aligned lines anywhere else.

    Args:
        title: what the rows sum up, such as the run's name.
        rows: (name, value) pairs; values are printed as `str` gives them, so they carry their unit.
    """
    title, pairs = printable(title), [(printable(name), printable(str(value))) for name, value in rows]
    if not _is_live():
        width = max((len(name) for name, _ in pairs), default=0)
        print("\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in pairs)]), flush=True)
        return
    # Text objects: a bracket in a name or path is not rich markup.
    table = Table(title=Text(title, style="bold"), title_justify="left", show_header=False, box=box.ROUNDED)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(name), Text(value))
    Console(file=sys.stdout).print(table)


def _is_live() -> bool:
    # rich's own test is not enough: it counts a pipe as a terminal where FORCE_COLOR is set.
    return sys.stdout.isatty() and not Console(file=sys.stdout).is_dumb_terminal


def _phrases(values: Mapping[str, float]) -> list[str]:
    return [phrase(values[key]) for key, phrase in _PHRASES.items() if key in values]


def _rate(speed: float) -> str:
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"


def _loss(value: float) -> str:
    return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"


def _duration(seconds: float) -> str:
    """Writes seconds as 1:05, 2:03:04 or 5d 2:03:04."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
