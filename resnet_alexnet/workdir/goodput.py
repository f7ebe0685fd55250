"""Goodput: the share of the time of a run in which it made steps that count, and what took the rest.

All of it is in metrics.jsonl. A line has the wall-clock `time` (Unix seconds), and in its fields `seconds/PART` what
the time since the line before went into. Each start of the run writes a line with "start": how many there have been;
its `time` is that at which the process began, and its `num_steps` that of the config. A resumed run removes the lines
after its checkpoint. It adds their seconds to its own start line, so that every second of the run is in exactly one
line.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TIME, START, SECONDS, NUM_STEPS = "time", "start", "seconds/", "num_steps"
# The mark of a run's last line: all steps are done; a signal came, and it has saved; a loss or a parameter was not
# finite; the loss did not begin to fall.
FINISHED, STOPPED, DIVERGED, STUCK = ENDS = ("finished", "stopped", "diverged", "stuck")
FAILED_CHECKS = (DIVERGED, STUCK)
RATES = ("images_per_second", "step_images_per_second", "input_wait_percent")
# The parts of the time of a run, with their names for people.
PARTS = {
    "steps": "steps",
    "start": "start",  # reading the data, building the network, restoring a checkpoint
    "compile": "compilation",
    "input_wait": "waiting for input",  # the device was idle in it
    "evaluation": "evaluation",
    "save": "saving",  # as far as it held up the steps
    "other": "other",  # logging, drawing curves; of data that is kept on the device also the overhead of dispatching
    "lost": "lost to restarts",  # steps, evaluations and the like that were done again after a restart
    "down": "down",  # no process was running
}
_DONE_AGAIN = ("steps", "input_wait", "evaluation", "save", "other")

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Goodput:
    """Where the time of a run went.

    Attributes:
        seconds: by part, see PARTS.
        starts: how often the run was started.
    """

    seconds: Mapping[str, float]
    starts: int

    @property
    def total(self) -> float:
        """Seconds in which a process was running: the sum of all parts except "down"."""
        return sum(self.seconds.values()) - self.seconds.get("down", 0.0)

    @property
    def percent(self) -> float:
        """The share of the steps in the total, in percent."""
        return 100 * self.seconds.get("steps", 0.0) / self.total if self.total else 0.0

    def __str__(self) -> str:
        """One line, such as "93 % of 2.2 h: evaluation 4 %, compilation 2 %, start 1 %"."""
        rest = {part: 100 * seconds / self.total for part, seconds in self.seconds.items() if self.total}
        rest = {part: rest[part] for part in PARTS if part not in ("steps", "down") and rest.get(part, 0) >= 0.1}
        largest = sorted(rest.items(), key=lambda item: -item[1])
        parts = ", ".join(f"{PARTS[part]} {format_percent(percent)}" for part, percent in largest)
        text = f"{format_percent(self.percent)} of {format_duration(self.total)}" + (f": {parts}" if parts else "")
        if self.starts > 1:
            text += f"; {self.starts} starts, {format_duration(self.seconds.get('down', 0.0))} down between them"
        return text


def read_goodput(lines: Sequence[Line]) -> Goodput | None:
    """The goodput of a run until its last line; None if its lines have no times.

    Args:
        lines: the lines of metrics.jsonl, in order.
    """
    if not lines or START not in lines[0]:
        return None
    seconds: defaultdict[str, float] = defaultdict(float)
    for part, value in (item for line in lines for item in _seconds(line).items()):
        seconds[part] += value
    return Goodput({part: seconds[part] for part in PARTS if part in seconds}, _starts(lines)) if seconds else None


def start_line(
    step: int,
    lines: Sequence[Line],
    removed: Iterable[Line],
    *,
    began: float,
    alive: float,
    num_steps: int | None = None,
) -> Line:
    """The line of a start, with the seconds of the lines that are removed for it.

    Args:
        step: the step of the checkpoint from which the run resumes; 0 for none.
        lines: the lines of metrics.jsonl, in order.
        removed: those that the resumed run removes. What lines after `step` tell of was done in vain; lines up to
            `step` only mark where the run stopped.
        began: the time at which this process began.
        alive: the last time at which the process before it is known to have been running.
        num_steps: how many steps the run is to do, on which its learning rate may depend; None if that is not known.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    for line in removed:
        in_vain = START not in line and (line["step"] > step or not step)
        for part, value in _seconds(line).items():
            seconds["lost" if in_vain and part in _DONE_AGAIN else part] += value
    times = [line[TIME] for line in lines if TIME in line]
    if times:
        has_ended = bool(lines[-1].keys() & set(ENDS))
        end = times[-1] if has_ended else min(max(times[-1], alive), began)
        seconds["lost"] += max(0.0, end - times[-1])
        seconds["down"] += max(0.0, began - end)
    length = {} if num_steps is None else {NUM_STEPS: num_steps}
    return {"step": step, START: 1 + _starts(lines), TIME: round(began, 3), **length, **seconds_fields(seconds)}


def seconds_fields(seconds: Mapping[str, float]) -> dict[str, float]:
    """The fields of a line for seconds by part, to the millisecond; without those that are zero."""
    fields = {f"{SECONDS}{part}": round(seconds[part], 3) for part in PARTS if part in seconds}
    return {name: value for name, value in fields.items() if value}


def computed(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """The lines without what differs between two runs of one computation: starts, times and throughput."""
    return [
        {
            name: value
            for name, value in line.items()
            if name != TIME and not name.startswith(SECONDS) and name not in RATES
        }
        for line in lines
        if START not in line
    ]


def format_duration(seconds: float) -> str:
    """Formats a duration in the largest of hours, minutes and seconds that gives at least 2."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"


def format_percent(percent: float) -> str:
    """Formats a share, with a decimal if it is below 1 or near 100 %."""
    return f"{percent:.1f} %" if percent < 1 or 99 < percent < 100 else f"{percent:.0f} %"


def _starts(lines: Iterable[Line]) -> int:
    """How many starts there have been; of a file that others wrote, only whole numbers count."""
    return max((line[START] for line in lines if type(line.get(START)) is int), default=0)


def _seconds(line: Line) -> dict[str, float]:
    return {
        name.removeprefix(SECONDS): value
        for name, value in line.items()
        if name.startswith(SECONDS) and isinstance(value, int | float)
    }
