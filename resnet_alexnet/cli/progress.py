"""What a person sees of a run on standard output: a live bar on a terminal, plain lines anywhere else."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Self, TextIO, TypeVar, cast

from rich import box, progress
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from resnet_alexnet.cli.output import Output
from resnet_alexnet.cli.throughput import Throughput
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
_ON_THE_BAR = ("train/loss", "train/top1_error", "input_wait_percent")
_LEAST_BAR = 6  # columns of the bar and its margin, if there is room
_LINE_SECONDS = 60.0  # between two plain lines of an evaluation


class Progress:
    """Shows how far a run is; a context manager.

    On a terminal: one live bar of the finished steps, with epoch, loss, error, lowest validation error, images/s and
    time left, as many as fit; a second bar while an evaluation runs; evaluations and messages are printed above.
    Anywhere else (a file, a pipe, a dumb terminal): one plain line for each line of metrics.jsonl.

    Attributes:
        output: where it is shown. Once that cannot be written, nothing is shown any more.
    """

    def __init__(
        self,
        total_steps: int,
        start_step: int = 0,
        *,
        batch_size: int = 0,
        images: int = 0,
        best_error: float | None = None,
        only_warnings_of: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the bar; entering shows it.

        Args:
            total_steps: steps of the whole run.
            start_step: steps done before, in a run that resumes.
            batch_size: images per step.
            images: images per epoch; 0 shows no epoch on the bar.
            best_error: the lowest validation error so far, in percent.
            only_warnings_of: the name of a process beside that which shows all: it shows warnings, on standard error.
            clock: seconds since any fixed moment.
        """
        self.total_steps = total_steps
        self.step = start_step
        self._batch_size, self._images, self._best_error = batch_size, images, best_error
        self._latest: dict[str, float] = {}
        self._clock = clock
        self._start = clock()
        self._throughput = Throughput(clock)
        self._only_warnings_of = only_warnings_of
        self.output = Output(silent=bool(only_warnings_of))
        self._bar = self._create_bar() if is_live() and not only_warnings_of else None

    def advance(self, step: int) -> None:
        """Tells that `step` steps are finished; from any thread. The bar redraws by itself, a few times a second."""
        self.step = step
        self._throughput.mark(step)
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the metrics of a step; keys and units are those of metrics.jsonl."""
        if step != self.step:
            self.advance(step)
        if "val/top1_error" in values:
            lowest = self._best_error if self._best_error is not None else math.inf
            self._best_error = min(lowest, values["val/top1_error"])
        if self._bar is None:
            self.say(self._line(values))
            return
        self._latest.update({key: values[key] for key in _ON_THE_BAR if key in values})
        evaluated = {key: value for key, value in values.items() if key.startswith(("val/", "test/"))}
        if evaluated:
            epoch = {"epoch": values["epoch"]} if "epoch" in values else {}
            self.say("  ".join([f"step {step}", *_phrases({**epoch, **evaluated})]))

    def follow(
        self, items: Iterable[Item], length: int, description: str, *, size: Callable[[Item], int] = lambda item: 1
    ) -> Iterator[Item]:
        """Passes items on and shows how many are done, in a bar below that of the run; see `progress_bar`."""
        if self._bar is None:
            yield from _with_lines(items, length, description, size, _LINE_SECONDS, self._clock, self.say)
        else:
            throughput, done = Throughput(self._clock), 0
            task = self._bar.add_task(description, total=length, throughput=throughput)
            try:
                for item in items:
                    yield item
                    done += size(item)
                    throughput.mark(done)
                    self._bar.update(task, completed=done)
            finally:
                self._bar.remove_task(task)
        self._throughput.pause()

    def say(self, text: str) -> None:
        """Prints a message, above the bar where there is one; from any thread."""
        text = "\n".join(map(printable, text.split("\n")))
        if self._only_warnings_of and text.startswith("warning"):
            print(f"{self._only_warnings_of}: {text}", file=sys.stderr, flush=True)
        elif self._bar is None:
            print(text, file=self.output, flush=True)
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
            _StatusColumn(_count),
            progress.BarColumn(bar_width=None),
            _StatusColumn(self._status),
            console=Console(file=cast(TextIO, self.output)),
            refresh_per_second=4,
            expand=True,
        )
        self._task = bar.add_task("", total=self.total_steps, completed=self.step, throughput=self._throughput)
        return bar

    def _line(self, values: Mapping[str, float]) -> str:
        parts = [f"step {self.step}/{self.total_steps}", *_phrases(values)]
        seconds = self._throughput.seconds_left(self.total_steps)
        if seconds is not None:
            parts.append(f"eta {_duration(seconds)}")
        return "  ".join(parts)

    def _status(self, task: progress.Task) -> str:
        """Says what stands to the right of a bar: as much as fits, and always the time."""
        assert self._bar is not None
        throughput, total = task.fields["throughput"], int(task.total or 0)
        left = throughput.seconds_left(total)
        if task.id != self._task:
            parts = [
                f"{_rate(throughput.rate)}/s" if throughput.rate else "",
                "" if left is None else f"{_duration(left)} left",
            ]
            return "  ".join(filter(None, parts))
        if self.step >= self.total_steps:
            time_left = f"took {_duration(self._clock() - self._start)}"
        else:
            time_left = f"{_duration(left)} left" if left is not None else "" if throughput.begun else "compiling"
        room = self._bar.console.width - max(len(_count(each)) for each in self._bar.tasks) - _LEAST_BAR
        return _fit(self._facts(), time_left, room)

    def _facts(self) -> dict[str, str]:
        """What may stand on the bar, in this order, by name."""
        latest = {key: _PHRASES[key](value) for key, value in self._latest.items()}
        if self._images:
            latest["epoch"] = _PHRASES["epoch"](self.step * self._batch_size / self._images)
        if self._best_error is not None:
            latest["best"] = f"best val error {self._best_error:.1f} %"
        if self._throughput.rate and self._batch_size:
            latest["rate"] = f"{_rate(self._throughput.rate * self._batch_size)} images/s"
        order = ("epoch", "train/loss", "train/top1_error", "best", "rate", "input_wait_percent")
        return {name: latest[name] for name in order if name in latest}


_FIRST_TO_GO = ("input_wait_percent", "train/top1_error", "train/loss", "rate", "best", "epoch")


def _fit(facts: Mapping[str, str], time_left: str, room: int) -> str:
    """The facts and the time left in at most `room` columns; what matters least is left out."""
    shown = dict(facts)
    for name in _FIRST_TO_GO:
        if len(_joined(shown, time_left)) <= room:
            break
        shown.pop(name, None)
    return _joined(shown, time_left)


def _joined(facts: Mapping[str, str], time_left: str) -> str:
    return "  ".join(filter(None, [*facts.values(), time_left]))


def _count(task: progress.Task) -> str:
    """What stands to the left of a bar, such as "8/60" or "validation 1,000/5,000"."""
    if task.description:
        return f"{task.description} {task.completed:,.0f}/{task.total:,.0f}"
    return f"{task.completed:.0f}/{task.total:.0f}"


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
    if is_live():
        yield from _with_bar(items, length, description, size)
    elif line_seconds is not None:
        yield from _with_lines(items, length, description, size, line_seconds, clock, partial(print, flush=True))
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
    say: Callable[[str], object],
) -> Iterator[Item]:
    done, printed, last = 0, 0, clock()
    for item in items:
        yield item
        done += size(item)
        now = clock()
        if done > printed and now - last > seconds:
            speed = (done - printed) / (now - last)
            left = _duration((length - done) / speed)
            say(f"{done:,} of {length:,} {description}  {_rate(speed)}/s  {left} left")
            printed, last = done, now


def print_summary(title: str, rows: Iterable[tuple[str, object]]) -> None:
    """Prints a run's summary: a table on a terminal, a heading and aligned lines anywhere else.

    Args:
        title: what the rows sum up, such as the run's name.
        rows: (name, value) pairs; values are printed as `str` gives them, so they carry their unit.
    """
    title, pairs = printable(title), [(printable(name), printable(str(value))) for name, value in rows]
    if not is_live():
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


def is_live() -> bool:
    """Whether standard output is a terminal on which bars can move."""
    # rich's own test is not enough: it counts a pipe as a terminal where FORCE_COLOR is set.
    return sys.stdout is not None and sys.stdout.isatty() and not Console(file=sys.stdout).is_dumb_terminal


def _phrases(values: Mapping[str, float]) -> list[str]:
    return [phrase(values[key]) for key, phrase in _PHRASES.items() if key in values]


def _rate(speed: float) -> str:
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"


def _loss(value: float) -> str:
    return f"{value:.1e}" if 0 < abs(value) < 0.001 or abs(value) >= 10_000 else f"{value:.3f}"


def _duration(seconds: float) -> str:
    """Writes seconds as 1:05, 2:03:04 or 5d 2:03:04."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
