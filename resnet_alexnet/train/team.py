"""The processes that train a network together, as one of them sees them; a single process is a team of one."""

import contextlib
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jaxlib.version
from ml_collections import ConfigDict

from resnet_alexnet.cli.output import Output
from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.files import absolute_guest, is_guest
from resnet_alexnet.parallel import hosts
from resnet_alexnet.parallel.census import Census, DisagreementError, check_same
from resnet_alexnet.parallel.watchdog import Watchdog
from resnet_alexnet.train.ranges import check_numbers
from resnet_alexnet.train.stopping import Stop
from resnet_alexnet.workdir.config import flatten, to_json
from resnet_alexnet.workdir.lock import SEEN_FILE, locked
from resnet_alexnet.workdir.version import source_digest


class Team:
    """The processes of a run.

    Attributes:
        writes: whether this is the process that writes records and prints: process 0.
        name: what messages of this process begin with; empty for a single process.
    """

    def __init__(
        self, census: Census | None = None, *, name: str = "", writes: bool = True, watchdog_seconds: int = 0
    ) -> None:
        """A team whose processes consult each other by `census`; None for a single process."""
        self._census, self.name, self.writes, self._watchdog_seconds = census, name, writes, watchdog_seconds

    @contextlib.contextmanager
    def agreeing(self) -> Iterator[None]:
        """If the block fails on one process, it fails on all; where it failed, with its own error.

        Raises:
            DisagreementError: another process failed. The message names it and has its message.
        """
        if self._census is None:
            yield
            return
        try:
            yield
        except DisagreementError:  # which all have
            raise
        except (InputError, TrainingError) as error:
            with contextlib.suppress(DisagreementError):  # which has this error too, with the name of this process
                self._census.consult({"error": str(error)})
            raise
        self._census.consult({})

    @contextlib.contextmanager
    def locked(self, workdir: Path) -> Iterator[None]:
        """Holds the lock of the run folder in the block, on process 0; see `lock.locked`."""
        with contextlib.ExitStack() as stack:
            with self.agreeing():
                if self.writes:
                    stack.enter_context(locked(workdir))
            yield

    @contextlib.contextmanager
    def collective(self, left: Callable[[], str]) -> Iterator[None]:
        """Of several processes, an error of JAX in the block is one line: most often, another process has died.

        Args:
            left: says what is left of the run.

        Raises:
            TrainingError: JAX had an error.
        """
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if self._census is None:
                raise
            reason = textwrap.shorten(str(error), 200)
            raise TrainingError(
                f"a computation of all processes failed, as when one of them has died ({reason}); {left()}: run the "
                "same command again to resume"
            ) from None

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Raises InputError on all processes if some of the facts differ."""
        census = self._census
        if census is not None:
            census.consult(facts, lambda messages: check_same(messages, census.name))

    def lowest(self, number: int) -> int:
        """The lowest of the numbers of all processes; waits for all."""
        if self._census is None:
            return number
        return self._census.consult({"number": number}, lambda messages: min(m["number"] for m in messages.values()))

    def watchdog(self, step: int) -> Watchdog:
        """A watch over the run, which has done `step` steps; a single process is not watched."""
        return Watchdog(self._watchdog_seconds, name=self.name, step=step)

    def stop(self, answer: Callable, left: Callable[[], str], output: Output) -> Stop:
        """What may end the run early; see `stopping.Stop`."""
        return Stop(answer, left, output, all_stop=None if self._census is None else hosts.StopPoint())


@contextlib.contextmanager
def joined(processes: hosts.Processes | None, config: ConfigDict, workdir: Path) -> Iterator[Team]:
    """The team of this process, once all are there and agree; None for a single process.

    Of several processes, only process 0 prints in the block.

    Raises:
        InputError: a process is missing or differs; see `hosts.connected`.
    """
    if processes is None:
        yield Team()
        return
    check_numbers(config)  # of the times that connecting takes; the experiment is checked later, by all together
    times = config.hosts
    with hosts.connected(
        processes,
        describe_process(config),
        workdir / SEEN_FILE,
        connect_seconds=times.connect_seconds,
        heartbeat_seconds=times.heartbeat_seconds,
    ) as census:
        writes = processes.process_id == 0
        team = Team(census, name=hosts.own_name(processes), writes=writes, watchdog_seconds=times.watchdog_seconds)
        if team.writes:
            yield team
            return
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield team
            sys.stdout.flush()


def describe_process(config: ConfigDict) -> dict[str, str]:
    """What must be the same on all processes of a run: the config, the code and the versions."""
    guests = [absolute_guest(name) for name in (config.model.name, config.dataset.name) if is_guest(name)]
    files = [Path(f"{name.rpartition('.py')[0]}.py") for name in guests]
    return {
        **{f"--config.{name}": repr(value) for name, value in flatten(to_json(config)).items()},
        "the code": source_digest(file for file in files if file.is_file()),
        "jax": jax.__version__,
        "jaxlib": jaxlib.version.__version__,
    }
