"""Does the runs of studies that are missing, and measures them."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.files import read_json, temporary_path, write_json
from resnet_alexnet.study.design import PHOTOGRAPHS, SCALES, Absent, Budget, Study, is_ours, read_studies, study_names
from resnet_alexnet.study.execution import Execution
from resnet_alexnet.study.measurements import (
    ENSEMBLES,
    FOLDER,
    MEASUREMENTS,
    REPORT_FILE,
    SCORES_FILE,
    measurement_report,
)
from resnet_alexnet.study.plan import StateOf, StudyPlan, create_plan, unique
from resnet_alexnet.study.points import Point, python_command
from resnet_alexnet.study.pool import Task
from resnet_alexnet.study.runner import Runner
from resnet_alexnet.study.state import MeasuredRun, RunState, read_state
from resnet_alexnet.workdir.lock import NAMES, locked

STUDIES_FILE = "studies.json"  # in the folder of studies: what was planned there
RUNS = "runs"  # in that folder: the run folders
PILOT = "pilot"  # in that folder: trial runs, see `pilot`


@dataclass(frozen=True)
class Planned:
    """What a folder of studies holds, or is to hold.

    Attributes:
        scale: one of `design.SCALES`, or `design.PHOTOGRAPHS`.
        configs: of the studies, as --config names them.
        overrides: words such as "--config.dataset.data_dir=DIR".
        plans: of the studies that the scale has.
        absent: the others.
        budget: of studies of photographs of one's own.
    """

    scale: str
    configs: Sequence[str]
    overrides: Sequence[str]
    plans: Sequence[StudyPlan]
    absent: Sequence[Absent]
    budget: Budget | None = None

    def tuning(self) -> list[Point]:
        """The runs that choose learning rates."""
        return unique(point for plan in self.plans for point in plan.tuning())

    def counted(self, state_of: StateOf) -> list[Point]:
        """The runs that count, as far as learning rates are chosen."""
        return unique(point for plan in self.plans for point in plan.counted(state_of))


def plan_studies(
    configs: Sequence[str], scale: str, overrides: Sequence[str] = (), budget: Budget | None = None
) -> Planned:
    """Reads studies and builds the configs of their runs, so that mistakes show before the first one starts.

    Raises:
        InputError: see `design.read_studies` and `plan.create_plan`.
    """
    studies: dict[str, Study] = {}
    absent: dict[str, Absent] = {}
    for config in configs:
        there, missing = read_studies(config, scale, budget)
        absent |= {each.name: each for each in missing}
        for study in there:
            if studies.setdefault(study.name, study) != study:
                raise InputError(
                    f"--config={config}: another study {study.name} was there before it (use another folder)"
                )
    order = {name: number for number, name in enumerate(study_names())}
    named = sorted(studies, key=lambda name: order.get(name, len(order)))
    plans = [create_plan(studies[name], overrides) for name in named]
    planned = Planned(scale, configs, overrides, plans, list(absent.values()), budget)
    planned.counted(lambda _: RunState())
    return planned


def read_planned(workdir: Path) -> Planned:
    """The studies of a folder, from the file that `run_studies` wrote there.

    Raises:
        InputError: there is no such file, it is damaged, or a study has changed so that it cannot be read.
    """
    values = read_json(workdir / STUDIES_FILE)
    try:
        configs, scale, overrides = values["studies"], values["scale"], values["overrides"]
        strings = all(isinstance(word, str) for word in [scale, *configs, *overrides])
        budget = Budget(**values["budget"]) if values.get("budget") else None
    except (KeyError, TypeError):
        strings, budget = False, None
    if not strings or scale not in (*SCALES, PHOTOGRAPHS) or (budget is None) == (scale == PHOTOGRAPHS):
        raise InputError(f"{workdir / STUDIES_FILE} is damaged: it names no studies, scale and overrides")
    return plan_studies(configs, scale, overrides, budget)


def run_studies(planned: Planned, workdir: Path, execution: Execution) -> None:
    """Does what is missing in the folder of studies: runs that choose learning rates, runs that count, measurements.

    A failed run does not stop the others. What it was needed for is left out.

    Raises:
        InputError: the folder holds something else, or another command uses it.
        TrainingError: some runs or measurements failed; the message names them.
        InterruptedRunError: a signal came. The same call continues.
    """
    configs = _all_configs(planned, workdir)
    try:
        (workdir / RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--workdir={workdir} cannot be written: {error.strerror}") from None
    with locked(workdir, mark=STUDIES_FILE):
        values = {"scale": planned.scale, "studies": configs, "overrides": list(planned.overrides)}
        values |= {} if planned.budget is None else {"budget": vars(planned.budget)}
        write_json(workdir / STUDIES_FILE, values)
        runner = Runner(workdir / RUNS, execution)
        if tuning := planned.tuning():
            print(f"runs that choose learning rates: {len(tuning)}", flush=True)
            runner.run(tuning)
        counted = planned.counted(partial(state_of, workdir))
        print(f"runs that count: {len(counted)}", flush=True)
        runner.run(counted)
        wanted = _measurements(planned, workdir)
        print(f"measurements: {sum(map(len, wanted.values()))}, of {len(wanted)} runs", flush=True)
        runner.test([create_measurements(list(names), run) for run, names in wanted.items()])
        runner.test(list(_ensembles(planned, workdir)))
    if failed := sorted(runner.failed_runs | runner.failed_tests):
        raise TrainingError(
            f"{len(failed)} runs or measurements failed: {', '.join(failed)} (their log.txt says why; the same command "
            "tries them again)"
        )


def state_of(workdir: Path, point: Point) -> RunState:
    """How far a run of the folder of studies is."""
    return read_state(workdir / RUNS / point.name)


def ensemble_folder(workdir: Path, members: Sequence[Point]) -> Path:
    """Where the ensemble of some runs is evaluated."""
    digest = hashlib.sha256(" ".join(point.digest for point in members).encode()).hexdigest()[:12]
    return workdir / ENSEMBLES / digest


def ensembles(plan: StudyPlan, workdir: Path) -> Iterator[tuple[str, list[list[Point]]]]:
    """The arms of a study that are ensembles, by name, with their members' runs for each seed."""
    for arm in plan.study.arms:
        if arm.members:
            members = [plan.arms[name] for name in arm.members]
            runs = [each.counted(each.choose(partial(state_of, workdir))) for each in members]
            yield arm.name, [list(seed) for seed in zip(*runs, strict=False)]


def create_measurements(names: Sequence[str], run: Path) -> Task:
    """The task that measures a run, in one process: to start one takes longer than most measurements of small runs."""
    command = python_command("study.measure", [f"--workdir={run}", f"--measurements={','.join(names)}"])
    reports = tuple(measurement_report(name, run) for name in names)
    return Task(f"{run.name}: {', '.join(names)}", run / FOLDER, tuple(command), 1, reports)


def create_ensemble(members: Sequence[Path], folder: Path) -> Task:
    """The task that averages the probabilities of runs on the test split; each has the measurement "test"."""
    scores = ",".join(str(run / FOLDER / "test" / SCORES_FILE) for run in members)
    words = [f"--from={scores}", f"--output={folder}"]
    return Task(folder.name, folder, tuple(python_command("evaluate", words)), 1, (folder / REPORT_FILE,))


def _measurements(planned: Planned, workdir: Path) -> dict[Path, dict[str, None]]:
    """The runs that are done, and what is measured of each; studies may share runs."""
    find_state = partial(state_of, workdir)
    wanted: dict[Path, dict[str, None]] = {}
    for plan in planned.plans:
        for arm in plan.arms.values():
            points = arm.counted(arm.choose(find_state))
            runs = [MeasuredRun(workdir / RUNS / point.name, point.config.num_steps) for point in points]
            for number, run in enumerate(run for run in runs if run.is_complete):
                names = (name for name in plan.measurements() if not (number and MEASUREMENTS[name].once))
                wanted.setdefault(run.path, {}).update(dict.fromkeys(names))
    return wanted


def _ensembles(planned: Planned, workdir: Path) -> Iterator[Task]:
    """The ensembles whose members were all evaluated."""
    for plan in planned.plans:
        for _, seeds in ensembles(plan, workdir):
            for members in seeds:
                folders = [workdir / RUNS / point.name for point in members]
                runs = [MeasuredRun(path, each.config.num_steps) for path, each in zip(folders, members, strict=True)]
                if all(run.measured("test") is not None for run in runs):
                    yield create_ensemble(folders, ensemble_folder(workdir, members))


def check_folder(workdir: Path) -> bool:
    """Whether a folder is one of studies already.

    Raises:
        InputError: it holds something else.
    """
    try:
        names = set(os.listdir(workdir)) if os.path.exists(workdir) else set()
    except OSError as error:
        raise InputError(f"--workdir={workdir} cannot be used as a folder: {error.strerror}") from None
    if STUDIES_FILE not in names and names - {*NAMES, RUNS, PILOT, temporary_path(workdir / STUDIES_FILE).name}:
        raise InputError(
            f"--workdir={workdir} is neither the folder of studies nor empty (allowed: either, or a new folder)"
        )
    return STUDIES_FILE in names


def _all_configs(planned: Planned, workdir: Path) -> list[str]:
    """The studies of the folder, those that were there before first.

    Raises:
        InputError: the folder holds something else, or studies at another scale or with other overrides.
    """
    configs = [each if is_ours(each) else os.path.abspath(each) for each in planned.configs]
    if not check_folder(workdir):
        return configs
    there = read_json(workdir / STUDIES_FILE)
    for name, given in (("scale", planned.scale), ("overrides", list(planned.overrides))):
        if there.get(name) != given:
            raise InputError(
                f"--workdir={workdir} has studies with {name}={there.get(name)!r}, not {given!r} (use another one)"
            )
    every = list(dict.fromkeys([*there["studies"], *configs]))
    plan_studies(every, planned.scale, planned.overrides, planned.budget)
    return every
