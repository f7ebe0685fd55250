"""What a study asks and compares, fixed before any of its runs.

A study file defines create_study(scale). It returns a `Study` for a scale, one of `SCALES`, or raises `ScaleError`.
One for photographs of one's own defines create_study(budget, argument), with a `Budget` and what follows a colon in
--config. configs/studies has ours.
"""

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import InputError, nearest
from resnet_alexnet.files import error_line, run_file
from resnet_alexnet.study.published import Published
from resnet_alexnet.workdir import recipes

SCALES = {
    "smoke": "tries the machinery; says nothing about the networks",
    "cpu": "narrow networks on the embedded sample of Fashion-MNIST",
    "gpu": "CIFAR-10 as in [H15] section 4.2",
    "imagenet": "ImageNet 2012, as published",
}
PHOTOGRAPHS = "photographs"  # stands in the place of a scale where runs have a budget
TUNING_SEED = 0  # of the runs that choose a learning rate; those that count have the seeds 1, 2 and so on
ALL = "all"  # the file that names all of ours, in the order of the report


class ScaleError(Exception):
    """A study has no arms at a scale; the message says why."""


@dataclass(frozen=True)
class Budget:
    """What the runs of a study may take; `budget.plan` makes it from a time.

    Attributes:
        seconds: for all of them.
        image_size: pixels, of runs from scratch.
        num_steps: of each run.
        seeds: runs of each arm.
    """

    seconds: int
    image_size: int
    num_steps: int
    seeds: int


@dataclass(frozen=True)
class Arm:
    """A setting that is compared with others: one network and one recipe, run with several seeds.

    Attributes:
        name: as tables and charts call it, such as "ResNet-20".
        recipe: as --config names it.
        fields: of the config, over those of the recipe.
        learning_rates: the candidates. With more than one, each is run once, with `TUNING_SEED`, and the one with the
            lowest last validation error is taken. All arms of a study have the same number of them.
        members: of an ensemble, the arms whose probabilities are averaged, seed by seed. It has no runs of its own, and
            neither recipe nor fields.
    """

    name: str
    recipe: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    learning_rates: Sequence[float] = ()
    members: Sequence[str] = ()


@dataclass(frozen=True)
class Comparison:
    """A claim about two arms: that a metric is larger for one than for the other.

    Attributes:
        claim: a sentence, as the paper or the study text has it.
        metric: one of `metrics.METRICS`.
        larger: the arm with the larger value, if the claim is right.
        smaller: the other arm.
        margin: the difference, in the unit of the metric, below which the two count as equal.
        published: the paper's values for `larger` and `smaller`, or one for their difference or ratio; none if it gives
            none. If the two values differ by less than `margin`, the claim is that the two are equal.
        source: paper, and table, figure or section.
        equality: whether the claim is that the two are equal; None: if the published values say so.
    """

    claim: str
    metric: str
    larger: str
    smaller: str
    margin: float
    source: str
    published: Sequence[Published] = ()
    equality: bool | None = None

    @property
    def claims_equality(self) -> bool:
        """Whether the claim is that the two are equal, because it says so or the paper's values are."""
        values = [number.value for number in self.published]
        near = len(values) > 1 and abs(values[0] - values[1]) < self.margin
        return near if self.equality is None else self.equality


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it.

    Attributes:
        title: such as "Degradation".
        question: a sentence with a question mark.
        arms: in the order of tables.
        comparisons: the first is the primary one.
        seeds: how many runs count, of each arm.
        metrics: names of `metrics.METRICS` that tables show, besides those that are compared.
        measurements: names of `measurements.MEASUREMENTS`, besides those that the metrics need.
        notes: what a reader must know about this scale: what is left out, and why.
        headline: a sentence over the first charts, if the runs point to the claims that it rests on; empty for none.
        headline_claims: which of the comparisons these are, from 0; empty: all.
        recommends: whether the report says which arm to use.
    """

    title: str
    question: str
    arms: Sequence[Arm]
    comparisons: Sequence[Comparison]
    seeds: int
    metrics: Sequence[str] = ()
    measurements: Sequence[str] = ()
    notes: Sequence[str] = ()
    headline: str = ""
    headline_claims: Sequence[int] = ()
    recommends: bool = False
    name: str = ""  # of its file, set by `read_studies`

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)


@dataclass(frozen=True)
class Absent:
    """A study that a scale does not have."""

    name: str
    reason: str


def study_names() -> list[str]:
    """The names of our studies, in the order of the report."""
    return list(run_file(recipes.FOLDER / "studies" / f"{ALL}.py", "all_studies", where="the list of studies").STUDIES)


def is_ours(name: str) -> bool:
    """Whether --config names one of our studies, or all of them."""
    return find_studies(name)[0].parent == recipes.FOLDER / "studies"


def split_name(name: str) -> tuple[str, str]:
    """The file that --config names, and the argument behind its colon: "your_photographs:resnet18=FILE"."""
    found = re.fullmatch(r"(\w+|.*\.py):(.*)", name, re.DOTALL)
    return (found[1], found[2]) if found else (name, "")


def find_studies(name: str) -> list[Path]:
    """The files that --config names: one of our studies or all of them, by name or as configs/studies/X.py; or a path.

    Raises:
        InputError: there is no such file.
    """
    file = Path(os.path.expanduser(split_name(name)[0]))
    ours = recipes.FOLDER / "studies"
    if re.fullmatch(r"\w+", str(file)) or (str(file.parent) == "configs/studies" and not os.path.exists(file)):
        file = ours / f"{file.stem}.py"
    if file.stem == ALL and file.resolve().parent == ours.resolve():
        return [ours / f"{each}.py" for each in study_names()]
    if not os.path.isfile(file):
        known = [*study_names(), ALL]
        raise InputError(
            f"--config={name}: no such study{nearest(name, known)} (allowed: {', '.join(known)}, or the path of a .py "
            "file)"
        )
    return [file]


def read_studies(name: str, scale: str, budget: Budget | None = None) -> tuple[list[Study], list[Absent]]:
    """The studies that --config names, at a scale, and those that it does not have.

    Args:
        name: as --config has it.
        scale: one of `SCALES`, or `PHOTOGRAPHS`.
        budget: of a study at the scale `PHOTOGRAPHS`.

    Raises:
        InputError: a file cannot be read or run, or what it defines is no study.
    """
    studies, absent = [], []
    for file in find_studies(name):
        try:
            studies.append(_read_study(file.absolute(), scale, budget, split_name(name)[1]))
        except ScaleError as reason:
            absent.append(Absent(file.stem, str(reason)))
    return studies, absent


def _read_study(file: Path, scale: str, budget: Budget | None, argument: str) -> Study:
    where = f"the study {file}"
    try:
        with recipes.importable_as_configs(file.resolve().parent):
            create = getattr(run_file(file, f"study_{file.stem}", where=where), "create_study", None)
            study = _create(create, scale, budget, argument, where) if callable(create) else None
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}") from None
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(where) else f"{where}: {text}") from None
    except ScaleError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}: {error_line(error, file)}") from None
    if not isinstance(study, Study):
        raise InputError(f"{where} defines no function create_study(scale) that returns a Study")
    _check(study, where)
    return Study(**{**vars(study), "name": file.stem})


def _create(create: Callable[..., Any], scale: str, budget: Budget | None, argument: str, where: str) -> Any:
    takes_budget = next(iter(inspect.signature(create).parameters), "") == "budget"
    if takes_budget and budget is None:
        raise InputError(f"{where} is of your own photographs: say how long it may take, such as --budget=30m")
    if budget is not None and not takes_budget:
        raise InputError(f"{where} has no budget: leave --budget out, or take --config=your_photographs")
    if argument and not takes_budget:
        raise InputError(f"{where} takes no argument: leave out what follows the colon, {argument!r}")
    return create(budget, argument) if takes_budget else create(scale)


def _check(study: Study, where: str) -> None:
    """Raises InputError if parts of a study do not fit together."""
    names = [arm.name for arm in study.arms]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{where}: two arms are called {twice[0]!r}")
    used = [name for each in study.comparisons for name in (each.larger, each.smaller)]
    for name in [*used, *(member for arm in study.arms for member in arm.members)]:
        if name not in names:
            raise InputError(f"{where}: no arm is called {name!r} (there are: {', '.join(names)})")
    if len({len(arm.learning_rates) for arm in study.arms if not arm.members}) > 1:
        raise InputError(f"{where}: its arms have different numbers of learning rates: one would be tuned more")
    if not study.comparisons or study.seeds < 1:
        raise InputError(f"{where} compares nothing, or has no seeds")
