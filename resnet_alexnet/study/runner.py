"""Does runs, and what is to be done with them afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from resnet_alexnet.cli.board import Board
from resnet_alexnet.study.execution import Execution
from resnet_alexnet.study.points import Point, python_command
from resnet_alexnet.study.pool import Task, run_pool
from resnet_alexnet.study.slurm import run_array


@dataclass
class Runner:
    """Does runs, and the tests of some, as the execution says, and remembers which failed."""

    workdir: Path
    execution: Execution
    failed_runs: set[str] = field(default_factory=set)
    failed_tests: set[str] = field(default_factory=set)

    def run(self, points: Sequence[Point], num_steps: int | None = None) -> None:
        """Takes points to `num_steps`, by default all their steps."""
        self.failed_runs.update(self._do([create_task(point, self.workdir, num_steps) for point in points]))

    def test(self, tests: Sequence[Task]) -> None:
        """Does tests of runs."""
        self.failed_tests.update(self._do(tests))

    def _do(self, every_task: Sequence[Task]) -> Sequence[str]:
        """Does those of the tasks that are not done; returns the names of those that failed."""
        tasks = [task for task in every_task if not task.is_done()]
        if not tasks:
            return ()
        how = self.execution
        with Board(len(every_task), len(every_task) - len(tasks)) as board:
            if not how.slurm:
                return run_pool(tasks, jobs=how.jobs, gpus=how.gpus, retries=how.retries, board=board)
            return run_array(
                tasks,
                workdir=self.workdir,
                jobs=how.jobs,
                retries=how.retries,
                options=how.slurm_options,
                board=board,
            )


def create_task(point: Point, workdir: Path, num_steps: int | None = None) -> Task:
    """The run of a point, to `num_steps` or all its steps."""
    folder = workdir / point.name
    words = [*point.words, f"--workdir={folder}"]
    if num_steps is not None and num_steps != point.config.num_steps:
        words.append(f"--config.num_steps={num_steps}")
    return Task(point.name, folder, tuple(python_command("main", words)), num_steps or point.config.num_steps)
