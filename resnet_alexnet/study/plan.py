"""Which runs a study needs: for each arm, those that choose its learning rate, then those that count.

Two studies whose arms have the same config share its runs: a run folder is named after its config.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.design import TUNING_SEED, Arm, Study
from resnet_alexnet.study.metrics import COSTS, METRICS
from resnet_alexnet.study.points import SEED, Point, config_digest, field_word, load_quietly
from resnet_alexnet.study.state import RunState
from resnet_alexnet.workdir.config import to_json

RATE = "optim.learning_rate"

StateOf = Callable[[Point], RunState]


@dataclass(frozen=True)
class Choice:
    """What the tuning of an arm came to.

    Attributes:
        errors: the last validation error of each candidate, in percent; None if its run is not complete, or failed.
        rate: the best; None if the runs are not done, or none of them has an error. Of an arm that is not tuned, None.
        is_open: whether runs are still to be done.
    """

    errors: Mapping[float, float | None]
    rate: float | None
    is_open: bool


class ArmPlan:
    """The runs of an arm.

    Attributes:
        tuning: a point for each candidate; none if there is one candidate or none.
    """

    def __init__(self, arm: Arm, seeds: int, overrides: Sequence[str], where: str) -> None:
        self.arm, self._seeds = arm, seeds
        self._words = [*(field_word(field, value, where) for field, value in arm.fields.items()), *overrides]
        try:
            self._config = ConfigDict() if arm.members else _load(arm.recipe, tuple(self._words))
        except InputError as error:
            raise InputError(f"{where}, arm {arm.name!r}: {error}") from None
        rates = arm.learning_rates if len(arm.learning_rates) > 1 else ()
        self.tuning = {rate: self._create({RATE: rate, SEED: TUNING_SEED, "eval.test": "never"}) for rate in rates}

    def choose(self, state_of: StateOf) -> Choice:
        """The learning rate with the lowest last validation error; of equal ones the first."""
        states = {rate: (point, state_of(point)) for rate, point in self.tuning.items()}
        complete = {rate: state.reached(point.config.num_steps) for rate, (point, state) in states.items()}
        errors = {rate: state.error() if complete[rate] else None for rate, (_, state) in states.items()}
        is_open = any(not complete[rate] and not state.failed_check for rate, (_, state) in states.items())
        found = {rate: error for rate, error in errors.items() if error is not None}
        return Choice(errors, min(found, key=lambda rate: found[rate]) if found and not is_open else None, is_open)

    def counted(self, choice: Choice) -> list[Point]:
        """The runs that count, seed by seed; none if a learning rate is still to be chosen, or could not be."""
        if self.arm.members or (self.tuning and choice.rate is None):
            return []
        rate = choice.rate if self.tuning else next(iter(self.arm.learning_rates), None)
        fields = {} if rate is None else {RATE: rate}
        return [self._create({**fields, SEED: seed}) for seed in range(1, self._seeds + 1)]

    def _create(self, fields: Mapping[str, Any]) -> Point:
        config = copy.deepcopy(self._config)
        config.update_from_flattened_dict(fields)
        own = [field_word(field, value, self.arm.name) for field, value in fields.items()]
        digest = config_digest(to_json(config))
        name = f"{config.model.name.rpartition(':')[2]}-rate={config.optim.learning_rate:g}-seed={config.seed}-{digest}"
        return Point(name, fields, (f"--config={self.arm.recipe}", *self._words, *own), config, digest)


@functools.lru_cache(maxsize=1024)
def _load(recipe: str, words: tuple[str, ...]) -> ConfigDict:
    return load_quietly(recipe, words)


@dataclass(frozen=True)
class StudyPlan:
    """A study and the runs of its arms."""

    study: Study
    arms: Mapping[str, ArmPlan]

    def tuning(self) -> Iterator[Point]:
        """The runs that choose learning rates."""
        for arm in self.arms.values():
            yield from arm.tuning.values()

    def counted(self, state_of: StateOf) -> Iterator[Point]:
        """The runs that count, as far as learning rates are chosen."""
        for arm in self.arms.values():
            yield from arm.counted(arm.choose(state_of))

    def measurements(self) -> list[str]:
        """The measurements that the runs that count need."""
        compared = (comparison.metric for comparison in self.study.comparisons)
        needed = [METRICS[name].needs for name in (*compared, *self.study.metrics, *COSTS)]
        ensembles = ["test"] if any(arm.members for arm in self.study.arms) else []
        return [name for name in dict.fromkeys([*needed, *ensembles, *self.study.measurements]) if name]


def create_plan(study: Study, overrides: Sequence[str] = ()) -> StudyPlan:
    """Builds the config of every run of a study.

    Args:
        study: see `design.read_studies`.
        overrides: words such as "--config.dataset.data_dir=DIR", for all runs.

    Raises:
        InputError: an arm names a recipe or a field that does not exist, a metric or measurement is unknown, or an
            override sets what the arms set.
    """
    where = f"the study {study.name}"
    for name in (*(comparison.metric for comparison in study.comparisons), *study.metrics):
        if name not in METRICS:
            raise InputError(f"{where}: no metric is called {name!r} (allowed: {', '.join(METRICS)})")
    own = {field for arm in study.arms for field in arm.fields} | {SEED, RATE, "eval.test"}
    varied = {field for field in own if len({str(arm.fields.get(field)) for arm in study.arms if not arm.members}) > 1}
    for word in overrides:
        field = word.removeprefix("--config.").partition("=")[0]
        if field in varied | {SEED, RATE, "eval.test"}:
            raise InputError(f"{word}: the arms of {where} set {field} themselves")
    return StudyPlan(study, {arm.name: ArmPlan(arm, study.seeds, overrides, where) for arm in study.arms})


def unique(points: Iterator[Point]) -> list[Point]:
    """The points without those that are the same run as one before."""
    return list({point.digest: point for point in points}.values())
