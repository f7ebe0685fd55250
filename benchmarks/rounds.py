"""Sides of a benchmark, each a process, measured in turn so that what else the machine does hits all of them alike."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from resnet_alexnet.errors import InputError

OTHERS = 0.05  # of the machine's CPU time, that others may use in a turn
LOOK = 0.5  # seconds to look whether they do
PATIENCE = 10  # seconds for a side to end by itself
SETTLE = 5  # seconds for the processes of a side to notice that it was killed
# One thread for whatever would start one a core; what a side may use beyond that it sets itself.
SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

LIFETIME = (  # what `lifetimes` measures
    "first_batch_seconds",
    "workers_cpu_seconds",
    "megabytes",
    "megabytes_of_largest_worker",
    "processes_left",
    "shared_memory_left",
)


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        name: what to call it.
        script: file of the side, in this folder.
        python: interpreter that runs it.
        options: what the side's `create` takes.
        cores: those that the side may use.
        about: what it does, for the table.
        busy: whether it is the CPU's work; where it is not, CPU time says nothing.
    """

    name: str
    script: str
    python: str
    options: Mapping[str, Any]
    cores: tuple[int, ...]
    about: str = ""
    busy: bool = True


@dataclass(frozen=True)
class Turn:
    """One turn of a line.

    Attributes:
        rate: images/s by the clock.
        cpu_rate: images for each second of CPU time of all processes of the line.
        others: what others took meanwhile, as a fraction of the machine's CPU time.
    """

    rate: float
    cpu_rate: float
    others: float


@dataclass(frozen=True)
class Measured:
    """What a line came to in its turns, and what its side said of itself."""

    line: Line
    turns: Sequence[Turn]
    side: Mapping[str, Any]

    def rates(self, *, by_cpu: bool = False) -> list[float]:
        """Images/s in each round."""
        return [turn.cpu_rate if by_cpu else turn.rate for turn in self.turns]

    def summary(self) -> dict[str, Any]:
        """For the record."""
        return {
            "name": self.line.name,
            "about": self.line.about,
            "cores": len(self.line.cores),
            "images_per_second": spread(self.rates()),
            "images_per_cpu_second": spread(self.rates(by_cpu=True)) if self.line.busy else None,
            "others_percent": round(100 * statistics.median(turn.others for turn in self.turns), 1),
        }


@dataclass(frozen=True)
class Comparison:
    """A line for another.

    Attributes:
        name: what is compared.
        ours: name of a line.
        peers: names of lines, of which in each round the slower counts.
        times: what the peer's rate is multiplied by.
        goal: what the ratio should reach.
        by_cpu: compare images per second of CPU time, not by the clock.
    """

    name: str
    ours: str
    peers: tuple[str, ...]
    times: float = 1
    goal: float | None = None
    by_cpu: bool = False

    def of(self, measured: Mapping[str, Measured]) -> dict[str, Any] | None:
        """What it came to, the ratio taken round by round; None where a line was not measured."""
        if not {self.ours, *self.peers} <= measured.keys():
            return None
        ours, *peers = (measured[name].rates(by_cpu=self.by_cpu) for name in (self.ours, *self.peers))
        peer = [self.times * min(rates) for rates in zip(*peers, strict=True)]
        ratio = spread([mine / theirs for mine, theirs in zip(ours, peer, strict=True)])
        return {
            "name": self.name,
            "ours": spread(ours)["median"],
            "peer": spread(peer)["median"],
            "ratio": ratio,
            "goal": self.goal,
            "met": None if self.goal is None else ratio["median"] >= self.goal,
        }


class Side:
    """A process that waits, stopped, until it is told to do some images. A context manager."""

    def __init__(self, line: Line, warm_up: int):
        options = {**line.options, "warm_up": warm_up}
        self._line = line
        self._shared_memory = _shared_memory()
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115, closed in __exit__
        with _confined(line.cores):
            # A group of its own, to be stopped as one; in our session, so that the kernel ends it if we are killed.
            self._process = subprocess.Popen(
                [line.python, str(Path(__file__).with_name(line.script)), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                process_group=0,
                env={**os.environ, **SINGLE},
            )

    def wait(self) -> dict[str, Any]:
        """Waits until it is ready, stops it, and returns what it says of itself."""
        about = self._read()
        self._signal(signal.SIGSTOP)
        return about

    def run(self, images: int) -> Turn:
        """Does that many images while no other side runs."""
        before, machine = self.children_seconds(), Machine()
        self._signal(signal.SIGCONT)
        print(images, file=self._process.stdin, flush=True)
        answer = self._read()
        self._signal(signal.SIGSTOP)
        cpu_seconds = answer["cpu_seconds"] + self.children_seconds() - before
        return Turn(images / answer["seconds"], images / cpu_seconds, machine.busy_without(cpu_seconds))

    def megabytes(self) -> tuple[float, float]:
        """Memory of it with all processes it has started, and of the largest of these; shared pages in equal parts."""
        process = psutil.Process(self._process.pid)
        sizes = [each.memory_full_info().pss / 1e6 for each in (process, *process.children(recursive=True))]
        return sum(sizes), max(sizes[1:], default=0.0)

    def kill(self) -> tuple[int, int]:
        """Kills the side's own process with SIGKILL, as the system does for want of memory.

        Returns:
            The processes it started that still run some seconds later, and the names of shared memory left by then.
        """
        started = self._children()
        self._signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()
        _, alive = psutil.wait_procs(started, timeout=SETTLE)
        left = _shared_memory() - self._shared_memory
        _end(alive)
        return len(alive), len(left)

    def children_seconds(self) -> float:
        """CPU seconds of the processes that the side has started."""
        return sum(sum(child.cpu_times()[:2]) for child in self._children())

    def _read(self) -> dict[str, Any]:
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            self._errors.seek(0)
            reason = (self._errors.read().strip().splitlines() or ["it said nothing"])[-1]
            raise InputError(f"{self._line.name} ended with code {self._process.returncode}: {reason}")
        return json.loads(answer)

    def _children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *error: object) -> None:
        started = self._children()
        self._signal(signal.SIGCONT)
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self._process.kill()
        self._process.wait()
        _end(started)
        self._signal(signal.SIGKILL)
        self._process.stdout.close()
        self._errors.close()


def _shared_memory() -> set[str]:
    """The names of shared memory on this machine."""
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


def _end(processes: Sequence[psutil.Process]) -> None:
    """Kills processes, but lets Python's resource trackers remove what the others left."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if "resource_tracker" not in " ".join(process.cmdline()):
                process.kill()
    psutil.wait_procs(processes, timeout=SETTLE)


class Machine:
    """How busy the whole machine has been since this was made."""

    def __init__(self):
        self._before = psutil.cpu_times()

    def busy_without(self, seconds: float) -> float:
        """The fraction of all its CPU time that was used, not counting that many seconds of it."""
        spent = {
            name: after - before
            for name, before, after in zip(self._before._fields, self._before, psutil.cpu_times(), strict=True)
            if not name.startswith("guest")  # is part of user
        }
        total = sum(spent.values())
        busy = total - sum(spent.get(name, 0.0) for name in ("idle", "iowait"))
        return max(0.0, busy - seconds) / total if total else 0.0


class Quiet:
    """Repeats turns in which others used the machine, once they have left it.

    That may take so many seconds in all; then turns are taken as they come.
    """

    def __init__(self, seconds: float):
        self._left = seconds

    def turn(self, side: Side, images: int) -> Turn:
        """A turn of that many images."""
        while True:
            started = time.monotonic()
            turn = side.run(images)
            if turn.others <= OTHERS or self._left <= 0:
                return turn
            machine = Machine()
            while time.monotonic() - started < self._left:
                time.sleep(LOOK)
                if machine.busy_without(0) <= OTHERS:
                    break
                machine = Machine()
            self._left -= time.monotonic() - started


@contextlib.contextmanager
def _confined(cores: Sequence[int]) -> Iterator[None]:
    """Processes started within may use these cores only, and so may their threads, from the first on."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def interleave(
    lines: Sequence[Line], *, images: int, rounds: int, quiet: Quiet, tick: Callable[[], object] = lambda: None
) -> dict[str, Measured]:
    """Starts a side for each line and measures `rounds` times all in turn, `images` each, the first one unrecorded.

    Args:
        lines: what to measure.
        images: images of a line in a round.
        rounds: rounds to record.
        quiet: which turns to repeat.
        tick: called after each line's turn.
    """
    with contextlib.ExitStack() as stack:
        sides, said = {}, {}
        for line in lines:  # one after the other: those that are ready are stopped
            sides[line.name] = stack.enter_context(Side(line, images))
            said[line.name] = sides[line.name].wait()
        turns: dict[str, list[Turn]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            for name, side in sides.items():
                turn = quiet.turn(side, images) if number else side.run(images)
                tick()
                if number:
                    turns[name].append(turn)
    return {line.name: Measured(line, turns[line.name], said[line.name]) for line in lines}


def weigh(line: Line, *, batch: int, images: int, rounds: int) -> dict[str, Any]:
    """Starts a side and measures how long its first batch takes and how much memory it holds, round after round."""
    with Side(line, batch) as side:
        first_seconds, sizes = side.wait()["first_seconds"], []
        for _ in range(rounds):
            side.run(images)
            sizes.append(side.megabytes())
    totals = [round(total) for total, _ in sizes]
    return {
        "name": line.name,
        "first_batch_seconds": round(first_seconds, 2),
        "megabytes_after_first_round": totals[0],
        "megabytes_after_last_round": totals[-1],
        "megabytes_most": max(totals),
        "megabytes_of_largest_worker": round(max(largest for _, largest in sizes)),
    }


def lifetimes(
    lines: Sequence[Line], *, batch: int, images: int, starts: int, tick: Callable[[], object]
) -> list[dict[str, Any]]:
    """Starts all lines in turn, several times, and kills them: time to the first batch, memory, and what is left."""
    found: dict[str, list[tuple[float, ...]]] = {line.name: [] for line in lines}
    for _ in range(starts):
        for line in lines:
            with Side(line, batch) as side:
                start = side.wait()["first_seconds"], side.children_seconds()
                side.run(images)
                found[line.name].append((*start, *side.megabytes(), *side.kill()))
            tick()
    return [
        {
            "name": name,
            "starts": starts,
            **{key: spread(values) for key, values in zip(LIFETIME, zip(*rows, strict=True), strict=True)},
        }
        for name, rows in found.items()
    ]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest, to four digits."""
    return {
        name: float(f"{function(values):.4g}")
        for name, function in (("median", statistics.median), ("min", min), ("max", max))
    }
