"""What the runs of studies say: plain data, computed from run folders alone.

A run that is missing, failed or is not complete is told as such; it has no numbers.
"""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json
from resnet_alexnet.study import verdicts
from resnet_alexnet.study.design import ALL, Absent, Arm, Comparison, Study
from resnet_alexnet.study.execute import RUNS, STUDIES_FILE, Planned, ensemble_folder, plan_studies, read_planned
from resnet_alexnet.study.plan import ArmPlan, Choice, StudyPlan
from resnet_alexnet.study.points import Point, config_digest
from resnet_alexnet.study.seeds import FINISHED, MISSING, Seed, read_ensemble, read_run
from resnet_alexnet.study.state import MeasuredRun, RunState
from resnet_alexnet.workdir.config import CONFIG_FILE, flatten, read_config
from resnet_alexnet.workdir.folder import ENVIRONMENT_FILE

_TELLING = ("dataset.name", "model.name", "num_steps", "batch_size", "precision")  # why a run belongs to no study


@dataclass(frozen=True)
class ArmFinding:
    """An arm and its runs.

    Attributes:
        arm: as the study has it.
        choice: of its learning rate.
        seeds: the runs that count, or their absence.
        command: that of its first run, as words; none of an ensemble, and if no learning rate could be chosen.
    """

    arm: Arm
    choice: Choice
    seeds: Sequence[Seed]
    command: Sequence[str] = ()

    @property
    def finished(self) -> list[Seed]:
        """Its finished runs."""
        return [seed for seed in self.seeds if seed.status == FINISHED]

    def values(self, metric: str) -> list[float]:
        """The numbers of its finished runs, seed by seed."""
        return [seed.numbers[metric] for seed in self.finished if metric in seed.numbers]


@dataclass(frozen=True)
class Verdict:
    """A comparison and what the runs say about it.

    Attributes:
        comparison: as it was fixed before.
        larger, smaller: the numbers of the runs of its two arms.
        difference: the verdict.
        adjusted_p: of a primary comparison, Holm's p over those of all studies; else None.
    """

    comparison: Comparison
    larger: Sequence[float]
    smaller: Sequence[float]
    difference: verdicts.Difference
    adjusted_p: float | None = None


@dataclass(frozen=True)
class StudyFinding:
    """A study, its arms, and its verdicts; the first is that of the primary comparison."""

    study: Study
    arms: Sequence[ArmFinding]
    verdicts: Sequence[Verdict]

    def arm(self, name: str) -> ArmFinding:
        """The arm of this name."""
        return next(each for each in self.arms if each.arm.name == name)

    @property
    def names(self) -> list[str]:
        """Those of its arms."""
        return [arm.arm.name for arm in self.arms]

    @property
    def metrics(self) -> list[str]:
        """The metrics that it compares or shows, and the test error."""
        compared = (comparison.metric for comparison in self.study.comparisons)
        return list(dict.fromkeys(["test_error", *compared, *self.study.metrics]))

    @property
    def is_run(self) -> bool:
        """Whether any run that counts is finished."""
        return any(arm.finished for arm in self.arms)


@dataclass(frozen=True)
class Findings:
    """All that a report needs.

    Attributes:
        scale: of the studies.
        studies: in the order of their files.
        absent: those that the scale does not have.
        problems: a line for each folder or run that is left out, and why.
        environments: versions, commit and devices of the finished runs, each with the number of runs.
    """

    scale: str
    studies: Sequence[StudyFinding]
    absent: Sequence[Absent]
    problems: Sequence[str]
    environments: Sequence[tuple[Mapping[str, Any], int]] = field(default=())


def read_findings(pattern: str, *, scale: str | None = None) -> Findings:
    """Reads the folders of studies, and run folders, that match a pattern.

    Args:
        pattern: as in a shell, such as "runs/study" or "runs/study/runs/*".
        scale: of run folders that lie in no folder of studies; by default that of the folders of studies, else cpu.

    Raises:
        InputError: nothing matches.
    """
    folders = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if Path(name).is_dir()]
    if not folders:
        raise InputError(f"--workdirs={pattern}: no folder matches (allowed: folders of studies, or run folders)")
    return _Reader(folders, scale).findings


class _Reader:
    """Reads the folders of a report."""

    def __init__(self, folders: Sequence[Path], scale: str | None) -> None:
        self._problems: list[str] = []
        self._folders: dict[str, Path] = {}  # of runs, by the digest of their config
        self._used: set[str] = set()
        self._seeds: dict[str, Seed] = {}  # that were read, by the same: studies share runs
        self._homes = [folder for folder in folders if (folder / STUDIES_FILE).is_file()]
        self._planned = self._plan(scale)
        for folder in folders:
            if folder in self._homes:
                for path in sorted((folder / RUNS).glob("*")):
                    self._add(path)
            elif (folder / CONFIG_FILE).is_file():
                self._add(folder)
            else:
                self._problems.append(f"{folder} is neither a folder of studies nor a run folder: it is left out")

    def _plan(self, scale: str | None) -> Planned:
        """The studies of the first folder of studies that can be read; others must be at its scale."""
        found: Planned | None = None
        for home in list(self._homes):
            try:
                planned = read_planned(home)
            except InputError as error:
                self._problems.append(f"{error}: its runs are left out")
                self._homes.remove(home)
                continue
            if found is None:
                found = planned
            elif _setting(planned) != _setting(found):
                self._homes.remove(home)
                self._problems.append(
                    f"{home} has studies at {_setting(planned)}, not at {_setting(found)}: its runs are left out"
                )
            else:
                configs = list(dict.fromkeys([*found.configs, *planned.configs]))
                found = plan_studies(configs, found.scale, found.overrides, found.budget)
        return found or plan_studies([ALL], scale or "cpu")

    def _add(self, folder: Path) -> None:
        """Takes a run folder in by its config, unless the pattern has matched it before."""
        if folder in self._folders.values():
            return
        try:
            digest = config_digest(read_config(folder / CONFIG_FILE))
        except InputError as error:
            self._problems.append(f"{error}: the run is left out")
            return
        if digest in self._folders:
            self._problems.append(f"{folder} has the same config and seed as {self._folders[digest]}: it is left out")
            return
        self._folders[digest] = folder

    @cached_property
    def findings(self) -> Findings:
        """What all folders together say."""
        studies = [self._study(plan) for plan in self._planned.plans]
        studies = _with_adjusted_p(studies)
        self._name_strangers()
        return Findings(
            self._planned.scale,
            studies,
            self._planned.absent,
            list(dict.fromkeys(self._problems)),
            _environments(studies),
        )

    def _study(self, plan: StudyPlan) -> StudyFinding:
        arms = [self._arm(plan, arm) for arm in plan.arms.values()]
        by_name = {each.arm.name: each for each in arms}
        found = []
        for comparison in plan.study.comparisons:
            larger, smaller = (
                by_name[name].values(comparison.metric) for name in (comparison.larger, comparison.smaller)
            )
            difference = verdicts.judge(
                larger, smaller, margin=comparison.margin, claims_equality=comparison.claims_equality
            )
            found.append(Verdict(comparison, larger, smaller, difference))
        return StudyFinding(plan.study, arms, found)

    def _arm(self, plan: StudyPlan, arm: ArmPlan) -> ArmFinding:
        if arm.arm.members:
            return ArmFinding(arm.arm, Choice({}, None, is_open=False), self._ensembles(plan, arm.arm))
        choice = arm.choose(self._state)
        self._used |= {point.digest for point in arm.tuning.values()}
        points = arm.counted(choice)
        if not points:
            return ArmFinding(arm.arm, choice, [Seed(seed, MISSING) for seed in range(1, plan.study.seeds + 1)])
        return ArmFinding(arm.arm, choice, [self._seed(point) for point in points], points[0].words)

    def _seed(self, point: Point) -> Seed:
        self._used.add(point.digest)
        folder, number = self._folders.get(point.digest), point.config.seed
        if folder is None:
            return Seed(number, MISSING)
        if point.digest not in self._seeds:
            run = MeasuredRun(folder, point.config.num_steps)
            self._seeds[point.digest] = read_run(number, run, self._problems)
        return self._seeds[point.digest]

    def _ensembles(self, plan: StudyPlan, arm: Arm) -> list[Seed]:
        members = [plan.arms[name] for name in arm.members]
        points = [each.counted(each.choose(self._state)) for each in members]
        seeds = []
        for number in range(1, plan.study.seeds + 1):
            own = [each[number - 1] for each in points if each]
            folders = [ensemble_folder(home, own) for home in self._homes] if len(own) == len(members) else []
            seeds.append(read_ensemble(number, folders, self._problems))
        return seeds

    def _state(self, point: Point) -> RunState:
        folder = self._folders.get(point.digest)
        if folder is None:
            return RunState()
        try:
            return MeasuredRun(folder, point.config.num_steps).state
        except InputError as error:
            self._problems.append(f"{error}: the run is left out")
            return RunState()

    def _name_strangers(self) -> None:
        """Says which runs belong to no study, and shows how one of them differs."""
        for digest, folder in self._folders.items():
            if digest not in self._used:
                flat = flatten(read_config(folder / CONFIG_FILE))
                about = ", ".join(f"{name}={flat[name]}" for name in _TELLING if name in flat)
                self._problems.append(
                    f"{folder} belongs to no arm of these studies at the scale {self._planned.scale} ({about}): it is "
                    "left out"
                )


def _setting(planned: Planned) -> str:
    flags = [*planned.overrides, *([] if planned.budget is None else [str(planned.budget)])]
    return f"the scale {planned.scale} with {' '.join(flags) or 'no other flags'}"


def _with_adjusted_p(studies: Sequence[StudyFinding]) -> list[StudyFinding]:
    """The studies with Holm's p of their primary comparisons."""
    tested = [each for each in studies if each.verdicts[0].difference.p is not None]
    adjusted = verdicts.holm([float(each.verdicts[0].difference.p or 0.0) for each in tested])
    by_name = dict(zip([each.study.name for each in tested], adjusted, strict=True))
    found = []
    for each in studies:
        first, *others = each.verdicts
        first = Verdict(**{**vars(first), "adjusted_p": by_name.get(each.study.name)})
        found.append(StudyFinding(each.study, each.arms, [first, *others]))
    return found


def _environments(studies: Sequence[StudyFinding]) -> list[tuple[Mapping[str, Any], int]]:
    """What the finished runs ran on, the most frequent first."""
    found: list[tuple[Mapping[str, Any], set[Path]]] = []
    for path in _run_folders(studies):
        try:
            environment = read_json(path / ENVIRONMENT_FILE)
        except InputError:
            continue
        known = next((paths for values, paths in found if values == environment), None)
        if known is None:
            found.append((environment, {path}))
        else:
            known.add(path)
    return sorted(((values, len(paths)) for values, paths in found), key=lambda each: -each[1])


def _run_folders(studies: Sequence[StudyFinding]) -> Iterator[Path]:
    """The folders of the finished runs, each once, without those of ensembles."""
    seeds = (seed for study in studies for arm in study.arms for seed in arm.finished)
    yield from dict.fromkeys(seed.folder for seed in seeds if seed.folder is not None and seed.steps is not None)
