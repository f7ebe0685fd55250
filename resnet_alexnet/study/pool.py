"""Runs the tasks of a sweep on this machine, several at once, each a process of its own."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_alexnet.cli.board import Board
from resnet_alexnet.cli.interrupt import EXIT_CODES, Interrupt
from resnet_alexnet.errors import InputError, InterruptedRunError
from resnet_alexnet.study.state import read_state
from resnet_alexnet.workdir.config import LOG_FILE
from resnet_alexnet.workdir.lock import find_holder

BAD_INPUT = 2  # the exit code of a run that would fail again
_SECONDS = 0.25  # between two looks at the processes
_LOOKS = 4  # at the processes for each look at the metrics
_LAST_LINES = 8  # of the log of a run that failed
# Becomes the command behind its first words, bound to some cores. On Linux the process gets SIGTERM when the sweep is
# gone, however it ended. Nothing is imported before the command starts but this.
_TETHER = """
import ctypes, os, signal, sys
parent, cores, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if cores:
        os.sched_setaffinity(0, map(int, cores.split(",")))
if os.getppid() != parent:
    sys.exit(75)
os.execv(command[0], command)
"""


@dataclass(frozen=True)
class Task:
    """A run to do, or tests of one.

    Attributes:
        name: of the point.
        folder: the run folder; of tests, the one that has their log.
        command: the words that run it; the first is a path.
        num_steps: how many steps it does.
        reports: of tests, the files that they write.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    num_steps: int
    reports: tuple[Path, ...] = ()

    def is_done(self) -> bool:
        """Whether there is nothing left to do: a run that diverged, or was stuck, would do so again."""
        if self.reports:
            return all(report.exists() for report in self.reports)
        state = read_state(self.folder)
        return state.failed_check or state.reached(self.num_steps)

    def describe(self) -> str:
        """What has come of it."""
        if self.reports:
            return "tested"
        state = read_state(self.folder)
        return f"{state.end} at step {state.step}" if state.failed_check else describe_error(state.error())


@dataclass
class _Running:
    """A task under way in a slot of the pool; it failed `failures` times before."""

    task: Task
    process: subprocess.Popen
    slot: int
    failures: int


def run_pool(tasks: Sequence[Task], *, jobs: int, gpus: Sequence[str], retries: int, board: Board) -> list[str]:
    """Runs all tasks; returns the names of those that failed. What a run prints is added to log.txt in its folder.

    The cores that this process may use are divided between the runs under way. The terminal's Ctrl-C reaches this
    process only: it sends SIGTERM to each run, which saves and ends. A second signal, or the end of this process by
    whatever cause (on Linux), ends the runs too.

    Args:
        tasks: in the order in which they start.
        jobs: how many run at once.
        gpus: for each of the `jobs`, the GPU that its runs see, as in CUDA_VISIBLE_DEVICES; empty: all see all.
        retries: how many times a run that failed is started again; bad input is not.
        board: where it is shown.

    Raises:
        InterruptedRunError: a signal came. The runs have saved.
        InputError: the folder of a run cannot be written.
    """
    pool = _Pool(tasks, jobs, gpus, retries, board)
    with Interrupt(pool.hear, lambda: "stopped without waiting for the runs; run the same command again") as interrupt:
        try:
            pool.run(interrupt)
        finally:
            pool.end()
    if interrupt.signal is not None:
        raise InterruptedRunError(
            f"{interrupt.signal.name}: {board.done} of {board.total} runs are done; run the same command again to "
            "continue",
            EXIT_CODES[interrupt.signal],
        )
    return pool.failed


class _Pool:
    """The processes of `run_pool`."""

    def __init__(self, tasks: Sequence[Task], jobs: int, gpus: Sequence[str], retries: int, board: Board) -> None:
        self.failed: list[str] = []
        self._held: set[str] = set()  # of which it was said
        self._waiting = deque((task, 0) for task in tasks)
        self._running: list[_Running] = []
        self._jobs, self._gpus, self._retries, self._board = jobs, gpus, retries, board
        self._woken = threading.Event()

    def hear(self, number: signal.Signals) -> None:
        """Answers the first signal; called by another thread."""
        self._board.say(f"{number.name}: stopping the runs, which save first; once more: without saving")
        self._woken.set()

    def run(self, interrupt: Interrupt) -> None:
        """Starts tasks and looks after them until all have ended, or a signal came."""
        looks = 0
        while (self._waiting or self._running) and interrupt.signal is None:
            for _ in range(len(self._waiting)):
                if len(self._running) == self._jobs:
                    break
                task, failures = self._waiting.popleft()
                if self._is_held(task):
                    self._waiting.append((task, failures))
                else:
                    self._start(task, failures)
            self._woken.wait(_SECONDS)
            for running in list(self._running):
                if running.process.poll() is not None:
                    self._running.remove(running)
                    self._ended(running, stopping=interrupt.signal is not None)
                elif looks % _LOOKS == 0:
                    show(self._board, running.task)
            looks += 1

    def end(self) -> None:
        """Stops what still runs, and waits until it has saved."""
        for running in self._running:
            running.process.terminate()
        for running in self._running:
            running.process.wait()
            with contextlib.suppress(OSError):  # the output may be what failed
                self._ended(running, stopping=True)
        self._running.clear()

    def _is_held(self, task: Task) -> bool:
        """Whether another process still trains in the folder of a task, as a run that saves; says so once."""
        holder = find_holder(task.folder)
        if holder is not None and task.name not in self._held:
            self._held.add(task.name)
            self._board.say(f"{task.name} waits: its folder is in use by {holder}")
        return holder is not None

    def _start(self, task: Task, failures: int) -> None:
        slot = min(set(range(self._jobs)) - {running.slot for running in self._running})
        environment = dict(os.environ)
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot]
        tether = [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), _cores(slot, self._jobs), *task.command]
        with _opened_log(task.folder) as log:
            log.write(f"$ {shlex.join(task.command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                tether,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._running.append(_Running(task, process, slot, failures))
        self._board.start(task.name, task.num_steps)

    def _ended(self, running: _Running, *, stopping: bool) -> None:
        """Says how a run ended; one that failed goes back to the queue if it may be tried again."""
        task, code = running.task, running.process.returncode
        if code == 0 or task.is_done():
            self._board.end(task.name, task.describe(), done=True)
            return
        if stopping:
            self._board.end(task.name, f"stopped at step {read_state(task.folder).step}", done=False)
            return
        again = code != BAD_INPUT and running.failures < self._retries
        what = f"failed ({_cause(code)})" + (", is tried again" if again else "")
        self._board.end(task.name, what, done=False)
        if again:
            self._waiting.append((task, running.failures + 1))
        else:
            self.failed.append(task.name)
            self._board.say("\n".join(last_lines(task.folder)))


def show(board: Board, task: Task) -> None:
    """Shows how far a task under way is."""
    try:
        state = read_state(task.folder)
    except InputError:  # a line that is being written
        return
    error = state.error()
    text = "starting" if not state.lines else "-" if error is None else describe_error(error)
    board.update(task.name, state.step, text)


def describe_error(error: float | None) -> str:
    """What a validation error is called."""
    return "no validation error" if error is None else f"validation error {error:.2f} %"


def last_lines(folder: Path) -> list[str]:
    """The end of what a run printed, for people."""
    path = folder / LOG_FILE
    with contextlib.suppress(OSError):
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 4096))
            lines = log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
        return [f"the end of {path}:", *(f"  {line}" for line in lines)]
    return []


@contextlib.contextmanager
def _opened_log(folder: Path) -> Iterator[Any]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = (folder / LOG_FILE).open("ab")
    except OSError as error:
        raise InputError(f"{folder / LOG_FILE} cannot be written: {error.strerror}") from None
    with log:
        yield log


def _cores(slot: int, jobs: int) -> str:
    """The cores of a slot: an equal part of those that this process may use; one of them if there are more jobs."""
    if sys.platform != "linux":
        return ""
    cores = sorted(os.sched_getaffinity(0))
    return ",".join(map(str, cores[slot::jobs] or [cores[slot % len(cores)]]))


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
