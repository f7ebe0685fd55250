"""Runs of several processes on this machine, over loopback."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from tests.support import processes
from tests.support.ports import free_ports

SMALL_NET = f"{Path(__file__).with_name('toy_nets.py')}:SmallNet"
HEARTBEAT = 10  # seconds, in which a process counts as dead
SECONDS = 180  # that any team may take on a busy machine


def config(**fields: Any) -> ConfigDict:
    """A run of a network that compiles in a second, whose plateau hangs on training and validation errors."""
    fields = {
        "model__name": SMALL_NET,
        "hosts__connect_seconds": 60,
        "hosts__heartbeat_seconds": HEARTBEAT,
        **fields,
    }
    return processes.resumable(**fields)


def free_port() -> int:
    """A port for process 0 of a team: its census takes the next one."""
    return free_ports(2)


def flags(port: int, count: int, number: int) -> list[str]:
    """Of process `number` of `count`."""
    return [f"--coordinator_address=127.0.0.1:{port}", f"--num_processes={count}", f"--process_id={number}"]


@dataclass
class Ended:
    """How a process ended."""

    code: int
    output: str
    errors: str


class Team:
    """Processes that have begun; what they write goes to files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.processes: list[subprocess.Popen] = []
        self._folder = folder

    def start(self, arguments: Sequence[str], environment: dict[str, str], cwd: Path) -> None:
        """Starts one more."""
        output, errors = self._files(len(self.processes))
        with output.open("w") as stdout, errors.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self.processes.append(process)

    def wait_for(self, ask: Callable[[], bool]) -> None:
        """Waits until something is so, while all processes run."""

        def holds() -> bool:
            assert all(each.poll() is None for each in self.processes), self.end()
            return ask()

        processes.wait_until(holds, lambda: f"the team in {self._folder}", SECONDS)

    def end_of(self, number: int) -> Ended:
        """Waits for the end of a process."""
        process, (output, errors) = self.processes[number], self._files(number)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        return Ended(process.wait(), output.read_text(), errors.read_text())

    def end(self) -> list[Ended]:
        """Waits for the ends of all."""
        return [self.end_of(number) for number in range(len(self.processes))]

    def _files(self, number: int) -> tuple[Path, Path]:
        return self._folder / f"{number}.out", self._folder / f"{number}.err"


@contextlib.contextmanager
def started(
    commands: Sequence[Sequence[str]],
    cache: Path,
    *,
    devices: int = 1,
    folders: Sequence[Path] | None = None,
    environments: Sequence[dict[str, str]] | None = None,
    collective_seconds: int = HEARTBEAT,
) -> Iterator[Team]:
    """A team of `main` with each of the command lines; those that still run at the end are killed."""
    team = Team(Path(tempfile.mkdtemp(dir=cache)))
    collectives = f"--xla_cpu_collective_timeout_seconds={collective_seconds}"  # else a dead process may not be noticed
    try:
        for number, command in enumerate(commands):
            environment = processes.environment(cache, devices)
            environment["XLA_FLAGS"] += f" {collectives}"
            environment |= environments[number] if environments else {}
            cwd = folders[number] if folders else processes.CHECKOUT
            team.start([*processes.MAIN, *command], environment, cwd)
        yield team
    finally:
        for process in team.processes:
            process.kill()
            process.wait()


def commands(workdir: Path, config: ConfigDict, count: int = 2, *more: str) -> list[list[str]]:
    """The command lines of a team; that of a single process for one."""
    common = [*processes.words(config), f"--workdir={workdir}", *more]
    port = free_port()
    return [[*common, *(flags(port, count, number) if count > 1 else [])] for number in range(count)]


def run(workdir: Path, config: ConfigDict, cache: Path, *, count: int = 2, devices: int = 1) -> list[Ended]:
    """Runs a team to its end."""
    with started(commands(workdir, config, count), cache, devices=devices) as team:
        return team.end()
