"""Runs the processes of a benchmark in turns, so that other load on the machine affects all of them equally."""

import contextlib
import json
import math
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from resnet_alexnet.errors import InputError
from resnet_alexnet.speed.windows import spread

OTHERS = 0.05  # fraction of the machine's CPU time that other processes may use in a turn
CHECK_SECONDS = 0.5  # seconds between two checks whether the machine is quiet
EXIT_SECONDS = 10  # seconds to wait for a process to end by itself
SETTLE_SECONDS = 5  # seconds to wait for child processes to notice that their parent was killed
# One thread for libraries that would start one per core. A process that needs more sets this itself.
SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Line:
    """One line of the table: a benchmark process and its options.

    Attributes:
        name: name in the table.
        script: file of the process, in this folder.
        python: Python interpreter that runs it.
        options: arguments of the script's `create`, and `settle`, see `serve.serve`.
        cores: cores that the process may use.
        about: description for the table.
        busy: whether the CPU limits it. If not, its CPU time is not reported.
        environment: variables of its environment, besides ours.
    """

    name: str
    script: str
    python: str
    options: Mapping[str, Any]
    cores: tuple[int, ...]
    about: str = ""
    busy: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """The measurement of one turn of a line.

    Attributes:
        throughput: images per second.
        cpu_throughput: images per second of CPU time of all processes of the line.
        others: CPU time that other processes used meanwhile, as a fraction of the machine's CPU time.
    """

    throughput: float
    cpu_throughput: float
    others: float

    @property
    def busy_cores(self) -> float:
        """How many cores the line kept busy, on average."""
        return self.throughput / self.cpu_throughput


@dataclass(frozen=True)
class Measured:
    """The turns of a line, and what its process reported about itself, such as versions.

    `peak_megabytes` is the largest resident size of its process, without its children, or None if that is not known.
    """

    line: Line
    turns: Sequence[Turn]
    side: Mapping[str, Any]
    peak_megabytes: float | None = None

    def throughputs(self, *, by_cpu: bool = False) -> list[float]:
        """Returns images per second, or per second of CPU time, in each round."""
        return [turn.cpu_throughput if by_cpu else turn.throughput for turn in self.turns]

    def summary(self) -> dict[str, Any]:
        """Returns the line's results as JSON values."""
        return {
            "name": self.line.name,
            "about": self.line.about,
            "cores": len(self.line.cores),
            "images_per_second": spread(self.throughputs()),
            "images_per_cpu_second": spread(self.throughputs(by_cpu=True)) if self.line.busy else None,
            "busy_cores": round(statistics.median(turn.busy_cores for turn in self.turns), 2)
            if self.line.busy
            else None,
            "peak_megabytes": self.peak_megabytes and round(self.peak_megabytes),
            "others_percent": round(100 * statistics.median(turn.others for turn in self.turns), 1),
        }


@dataclass(frozen=True)
class Comparison:
    """A comparison of a line with one or more peers.

    Attributes:
        name: name in the table.
        ours: name of the line to compare.
        peers: names of the lines to compare with. The slowest in each round counts.
        fastest: compare with the one of `peers` whose median is the greatest instead, in all rounds. Those of them that
            were not measured do not count.
        times: factor that the peer's throughput is multiplied by.
        goal: the ratio to reach, or None.
        by_cpu: compare images per second of CPU time instead of images per second.
    """

    name: str
    ours: str
    peers: tuple[str, ...]
    times: float = 1
    goal: float | None = None
    by_cpu: bool = False
    fastest: bool = False

    def of(self, measured: Mapping[str, Measured]) -> dict[str, Any] | None:
        """Returns the result, with the ratio taken in each round, or None if a line was not measured."""
        names = [name for name in self.peers if name in measured] if self.fastest else [*self.peers]
        if not (names and {self.ours, *names} <= measured.keys()):
            return None
        ours, *peers = (measured[name].throughputs(by_cpu=self.by_cpu) for name in (self.ours, *names))
        if self.fastest:
            best = max(range(len(peers)), key=lambda number: statistics.median(peers[number]))
            names, peers = [names[best]], [peers[best]]
        peer = [self.times * min(throughputs) for throughputs in zip(*peers, strict=True)]
        ratio = spread([mine / theirs for mine, theirs in zip(ours, peer, strict=True)])
        return {
            "name": self.name,
            "peers": names,
            "ours": spread(ours)["median"],
            "peer": spread(peer)["median"],
            "ratio": ratio,
            "goal": self.goal,
            "met": None if self.goal is None else ratio["median"] >= self.goal,
        }


class Side:
    """A benchmark process that is stopped except in its turns. A context manager."""

    def __init__(self, line: Line, warm_up: int):
        options = {**line.options, "warm_up": warm_up}
        self._line = line
        self._shared_memory = _shared_memory()
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115, closed in __exit__
        with _confined(line.cores):
            # Its own process group can be stopped as a whole. In our session, the kernel ends it if we are killed.
            self._process = subprocess.Popen(
                [line.python, str(Path(__file__).with_name(line.script)), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                process_group=0,
                env={**os.environ, **SINGLE, **line.environment},
            )

    def wait(self) -> dict[str, Any]:
        """Waits until the process is ready, stops it, and returns what it reports about itself."""
        about = self._read()
        self._signal(signal.SIGSTOP)
        return about

    def run(self, images: int) -> Turn:
        """Lets the process handle `images` images while all other processes are stopped."""
        before, machine = self.children_seconds(), Machine()
        self._signal(signal.SIGCONT)
        print(images, file=self._process.stdin, flush=True)
        answer = self._read()
        self._signal(signal.SIGSTOP)
        cpu_seconds = answer["cpu_seconds"] + self.children_seconds() - before
        others = machine.busy_without(cpu_seconds + answer["settling_cpu_seconds"])
        return Turn(images / answer["seconds"], images / cpu_seconds, others)

    def megabytes(self) -> tuple[float, float]:
        """Returns the PSS of the process with all its children, and of its largest child, in MB."""
        process = psutil.Process(self._process.pid)
        sizes = [each.memory_full_info().pss / 1e6 for each in (process, *process.children(recursive=True))]
        return sum(sizes), max(sizes[1:], default=0.0)

    def peak_megabytes(self) -> float | None:
        """Returns the largest resident size of the process so far, without its children; None if it is not known."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), None)

    def kill(self) -> tuple[int, int]:
        """Kills the process, without its children, with SIGKILL, as the system does when it runs out of memory.

        Returns:
            The number of child processes that still run after SETTLE_SECONDS, and of names of shared memory left.
        """
        started = self._children()
        self._signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()
        _, alive = psutil.wait_procs(started, timeout=SETTLE_SECONDS)
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
            reason = (self._errors.read().strip().splitlines() or ["it printed no error"])[-1]
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
            self._process.wait(EXIT_SECONDS)
        self._process.kill()
        self._process.wait()
        _end(started)
        self._signal(signal.SIGKILL)
        self._process.stdout.close()
        self._errors.close()


def _shared_memory() -> set[str]:
    """Returns the names of all shared memory on this machine."""
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


def _end(processes: Sequence[psutil.Process]) -> None:
    """Kills processes, except Python's resource trackers, which remove shared memory that is left behind."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if "resource_tracker" not in " ".join(process.cmdline()):
                process.kill()
    psutil.wait_procs(processes, timeout=SETTLE_SECONDS)


class Machine:
    """Measures how busy the whole machine has been since this object was created."""

    def __init__(self):
        self._before = psutil.cpu_times()

    def busy_without(self, seconds: float) -> float:
        """Returns the fraction of all CPU time that was used, without `seconds` of it."""
        spent = {
            name: after - before
            for name, before, after in zip(self._before._fields, self._before, psutil.cpu_times(), strict=True)
            if not name.startswith("guest")  # included in user
        }
        total = sum(spent.values())
        busy = total - sum(spent.get(name, 0.0) for name in ("idle", "iowait"))
        return max(0.0, busy - seconds) / total if total else 0.0


class Quiet:
    """Repeats turns that other processes disturbed, after waiting until the machine is quiet.

    `seconds` is the total time to spend on this. After that, turns are not repeated.
    """

    def __init__(self, seconds: float):
        self._left = seconds

    def turn(self, side: Side, images: int) -> Turn:
        """Runs a turn of `images` images, repeated if necessary."""
        while True:
            started = time.monotonic()
            turn = side.run(images)
            if turn.others <= OTHERS or self._left <= 0:
                return turn
            machine = Machine()
            while time.monotonic() - started < self._left:
                time.sleep(CHECK_SECONDS)
                if machine.busy_without(0) <= OTHERS:
                    break
                machine = Machine()
            self._left -= time.monotonic() - started


@contextlib.contextmanager
def _confined(cores: Sequence[int]) -> Iterator[None]:
    """Restricts processes started in the block, with all their threads, to these cores."""
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
    lines: Sequence[Line],
    *,
    images: int,
    rounds: int,
    quiet: Quiet,
    tick: Callable[[], object] = lambda: None,
    seconds: float = 0.0,
    warm_up: int | None = None,
    check: Callable[[Mapping[str, Mapping[str, Any]]], object] = lambda said: None,
) -> dict[str, Measured]:
    """Starts a process for each line and lets them run in turns. The first round is not recorded.

    Args:
        lines: lines to measure.
        images: images per line and round.
        rounds: number of rounds to record.
        quiet: repeats disturbed turns.
        tick: called after each turn.
        seconds: least length of a turn of the fastest line; after the first round, `images` is multiplied until then.
        warm_up: images that each line processes before the first round; None for `images`.
        check: called with what each process reports about itself, before the first round.
    """
    with contextlib.ExitStack() as stack:
        sides, said = {}, {}
        for line in lines:  # one at a time: each is stopped when it is ready
            sides[line.name] = stack.enter_context(Side(line, images if warm_up is None else warm_up))
            said[line.name] = sides[line.name].wait()
        check(said)
        turns: dict[str, list[Turn]] = {name: [] for name in sides}
        fastest = 0.0
        for number in range(rounds + 1):
            for name, side in sides.items():
                turn = quiet.turn(side, images) if number else side.run(images)
                tick()
                if number:
                    turns[name].append(turn)
                else:
                    fastest = max(fastest, turn.throughput)
            if not number:
                images *= max(1, math.ceil(seconds * fastest / images))
        peaks = {name: side.peak_megabytes() for name, side in sides.items()}
    return {line.name: Measured(line, turns[line.name], said[line.name], peaks[line.name]) for line in lines}
