"""A sweep from its file to its results: which runs are to be done, and by what."""

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from resnet_alexnet.errors import InputError, InterruptedRunError, TrainingError
from resnet_alexnet.files import read_json, temporary_path, write_json
from resnet_alexnet.study.collect import collect
from resnet_alexnet.study.execution import Execution
from resnet_alexnet.study.halving import check_rungs, run_rungs
from resnet_alexnet.study.points import Point, Sweep, config_digest
from resnet_alexnet.study.runner import Runner, create_task
from resnet_alexnet.study.slurm import check_slurm
from resnet_alexnet.study.state import RunState, read_state
from resnet_alexnet.study.winner import TESTS_FOLDER, test_winner
from resnet_alexnet.workdir.config import CONFIG_FILE, read_config
from resnet_alexnet.workdir.folder import check_workdir
from resnet_alexnet.workdir.lock import NAMES, locked

SWEEP_FILE = "sweep.json"


@dataclass(frozen=True)
class Plan:
    """Which runs are done.

    Attributes:
        rungs: the steps after which only the best settings go on; empty: all runs are done to their end.
        reduction_factor: of how many settings one goes on.
        reuse: whether a finished run with the same config, of another sweep, is taken instead of a new one.
        test_winner: whether the best setting is tested at the end.
    """

    rungs: Sequence[int] = ()
    reduction_factor: int = 2
    reuse: bool = True
    test_winner: bool = False


def run_sweep(sweep: Sweep, workdir: Path, execution: Execution, plan: Plan) -> None:
    """Does the runs of a sweep that are not done, collects the results, and prints them.

    If a signal or an error ends the runs, the results so far are collected and printed.

    Raises:
        InputError: something is wrong with the plan or the workdir, another sweep uses it, a file cannot be read or
            written, Slurm refuses the job, or another winner was tested before.
        TrainingError: some runs failed, or tests of the winner.
        InterruptedRunError: a signal came. The same call continues.
    """
    if plan.rungs:
        check_rungs(sweep, plan.rungs)
    if execution.slurm:
        check_slurm()
    check_sweep_folder(sweep, workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--workdir={workdir} cannot be written: {error.strerror}") from None
    with locked(workdir, mark=SWEEP_FILE):
        write_json(
            workdir / SWEEP_FILE,
            {
                "sweep": sweep.name,
                "config": sweep.base,
                "runs": {each.name: dict(each.fields) for each in sweep.points},
            },
        )
        runner, about_winner = Runner(workdir, execution), []
        try:
            _do_runs(sweep, workdir, plan, runner)
            if plan.test_winner and not runner.failed_runs:
                about_winner = list(test_winner(sweep, workdir, runner.test))
        except (InputError, InterruptedRunError):
            with contextlib.suppress(InputError, OSError):  # such as those of a terminal that is gone
                print("\n".join(collect(sweep, workdir)), flush=True)
            raise
        print("\n".join([*collect(sweep, workdir), *about_winner]), flush=True)
    if runner.failed_runs:
        untested = ", so the winner is not tested" if plan.test_winner else ""
        names = sorted(runner.failed_runs)
        raise TrainingError(
            f"{len(names)} of {len(sweep.points)} runs failed{untested}: {', '.join(names)} "
            "(their log.txt says why; the same command tries them again)"
        )
    if runner.failed_tests:
        raise TrainingError(
            f"all runs are done, but a test of the winner failed: {', '.join(sorted(runner.failed_tests))} "
            f"(log.txt in {workdir / TESTS_FOLDER} says why; the same command tries it again)"
        )


def _do_runs(sweep: Sweep, workdir: Path, plan: Plan, runner: Runner) -> None:
    """Does the runs that are not done."""
    say = partial(print, flush=True)
    if plan.rungs:
        factor = plan.reduction_factor
        run_rungs(sweep, workdir, plan.rungs, reduction_factor=factor, run=runner.run, say=say)
        return
    if plan.reuse:
        for line in _reuse(sweep, workdir):
            say(line)
    runner.run(sweep.points)


def print_commands(sweep: Sweep, workdir: Path) -> None:
    """Prints the commands of the runs that are not done, for a shell in this folder."""
    for point in sweep.points:
        task = create_task(point, workdir)
        if not task.is_done():
            print(shlex.join(task.command))


def check_sweep_folder(sweep: Sweep, workdir: Path) -> None:
    """Checks that runs can start or go on in the folder of a sweep, without writing anything.

    Raises:
        InputError: it holds something else, another sweep, or a run with another config.
    """
    try:
        names = set(os.listdir(workdir)) if os.path.exists(workdir) else set()
    except OSError as error:
        raise InputError(f"--workdir={workdir} cannot be used as a folder: {error.strerror}") from None
    if SWEEP_FILE not in names and names - {*NAMES, temporary_path(workdir / SWEEP_FILE).name}:
        raise InputError(
            f"--workdir={workdir} is neither the folder of a sweep nor empty (allowed: either, or a new folder)"
        )
    if SWEEP_FILE in names and (there := read_json(workdir / SWEEP_FILE).get("sweep")) != sweep.name:
        raise InputError(
            f"--workdir={workdir} is the folder of the sweep {there!r}, not of {sweep.name!r} (use another --workdir)"
        )
    for point in sweep.points:
        folder = workdir / point.name
        if folder.is_symlink() and not folder.exists():
            continue  # to a run that was removed since: see `_reuse`
        check_workdir(folder, point.config)
        _check_length(point, folder)


def _check_length(point: Point, folder: Path) -> None:
    """Raises InputError if the run of a point had another num_steps, by which its learning rate was another."""
    if not point.depends_on_num_steps or not (folder / CONFIG_FILE).is_file():
        return
    lengths = {read_config(folder / CONFIG_FILE)["num_steps"], *read_state(folder).lengths()} - {None}
    if others := lengths - {point.config.num_steps}:
        raise InputError(
            f"num_steps={point.config.num_steps}, but the run in {folder} began with {', '.join(map(str, others))}: "
            "by schedule.name='cosine' its learning rate was another one (use another --workdir)"
        )


def _reuse(sweep: Sweep, workdir: Path) -> Iterator[str]:
    """Makes each point that has no run a link to a finished run with the same config, if there is one.

    It is looked for in this folder and in the folders beside it: runs, and runs of sweeps. A link to a run that was
    removed since is removed.
    """
    open_points = {}
    for point in sweep.points:
        folder = workdir / point.name
        if folder.is_symlink() and not folder.exists():
            folder.unlink()
        if not os.path.lexists(folder):
            open_points[point.digest] = point
    beside = workdir.absolute().parent
    for file in sorted([*beside.glob(f"*/{CONFIG_FILE}"), *beside.glob(f"*/*/{CONFIG_FILE}")]) if open_points else ():
        if file.parent.is_symlink():
            continue
        with contextlib.suppress(InputError):  # what cannot be read is not a run
            point = open_points.get(config_digest(read_config(file)))
            if point is not None and _is_same(point, read_state(file.parent)):
                target = os.path.relpath(file.parent, workdir.absolute())
                (workdir / point.name).symlink_to(target)
                del open_points[point.digest]
                yield f"{point.name}: taken from {file.parent}, a finished run with the same config"


def _is_same(point: Point, state: RunState) -> bool:
    """Whether a run with the config of a point has done all its steps, and no step under another num_steps."""
    num_steps = point.config.num_steps
    return state.reached(num_steps) and (not point.depends_on_num_steps or state.lengths() == {num_steps})
