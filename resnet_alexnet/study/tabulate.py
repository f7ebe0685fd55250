"""The tables of a report, as text cells: claims, settings, learning rates and runs of a study; all numbers."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from resnet_alexnet.study.answers import amount, count_runs, show
from resnet_alexnet.study.design import Comparison
from resnet_alexnet.study.findings import ArmFinding, Findings, StudyFinding, Verdict
from resnet_alexnet.study.metrics import COSTS, METRICS
from resnet_alexnet.study.published import Published
from resnet_alexnet.study.seeds import FINISHED, Seed
from resnet_alexnet.study.verdicts import WITHIN_NOISE, prediction_interval, sampling_error

RESULTS_HEADER = (
    *("study", "scale", "setting", "seed", "learning_rate", "status", "metric", "unit", "value", "run_folder"),
)
NOTHING = "\N{EN DASH}"
OWN_SCALE = "imagenet"  # whose numbers can be compared with a paper's as they are


class Cell(NamedTuple):
    """A cell: its text, and what stands below it in small letters."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column is of names."""

    header: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Claim:
    """A comparison in words and numbers.

    Attributes:
        text: what is claimed.
        source: where, and what was compared.
        verdict: a word.
        verdict_note: what else to know of it.
        ours: the means, and their difference.
        published: the same of the paper.
    """

    text: str
    source: str
    verdict: str
    verdict_note: str
    ours: Cell
    published: Cell


def claims(finding: StudyFinding, scale: str) -> list[Claim]:
    """The comparisons of a study and their verdicts."""
    return [_claim(verdict, scale) for verdict in finding.verdicts]


def _claim(verdict: Verdict, scale: str) -> Claim:
    comparison, difference = verdict.comparison, verdict.difference
    metric = METRICS[comparison.metric]
    about = (
        f"{comparison.source}. Compared: {metric.label}, {comparison.larger} minus {comparison.smaller}; margin "
        f"{amount(f'{comparison.margin:g}', metric)}."
    )
    if comparison.claims_equality and comparison.equality is None:
        about += " The paper's own difference is below the margin: the claim counts as one of equality."
    notes = [] if difference.p is None else [f"p {show_p(difference.p)}"]
    if verdict.adjusted_p is not None:
        notes.append(f"with Holm {show_p(verdict.adjusted_p)}")
    if difference.verdict == WITHIN_NOISE and difference.detectable:
        notes.append(f"{amount(show(difference.detectable)[0], metric)} would have been seen")
    return Claim(
        comparison.claim,
        about,
        difference.verdict,
        ", ".join(notes),
        _ours(verdict),
        _published(verdict, scale),
    )


def _ours(verdict: Verdict) -> Cell:
    difference = verdict.difference
    if difference.value is None:
        return Cell(NOTHING)
    value, *ends = show(difference.value, *(difference.interval or ()))
    note = f"{value}, {ends[0]} to {ends[1]}" if ends else value
    means = _means(verdict.comparison, fmean(verdict.larger), fmean(verdict.smaller))
    return Cell(means, f"difference {note}; {count_runs(verdict.larger, verdict.smaller)}")


def _means(comparison: Comparison, larger: float, smaller: float) -> str:
    unit = METRICS[comparison.metric].unit
    first, second = show(larger, smaller)
    return f"{first} against {second} {unit}".strip()


def _published(verdict: Verdict, scale: str) -> Cell:
    """The paper's two values, of what they are, and at the paper's own scale whether ours agree with them."""
    comparison = verdict.comparison
    if not comparison.published:
        return Cell(NOTHING)
    if len(comparison.published) == 1:
        (number,) = comparison.published
        return Cell(f"{number.show()}", f"{number.quantity}; {_published_as(number)}".removesuffix("; "))
    larger, smaller = (number.value for number in comparison.published)
    of = [_published_as(number) for number in comparison.published]
    notes = [f"difference {larger - smaller:.2f}", of[0] if of[0] == of[1] else f"{of[0]} against {of[1]}"]
    if scale == OWN_SCALE:
        for name, value, ours in (
            (comparison.larger, larger, verdict.larger),
            (comparison.smaller, smaller, verdict.smaller),
        ):
            if (interval := prediction_interval(ours)) is not None:
                low, high = interval
                inside = "inside" if low <= value <= high else "outside"
                ends = " to ".join(show(low, high))
                notes.append(f"{name}: {inside} the interval for one more run of ours, {ends}")
    printed = " against ".join(number.printed for number in comparison.published)
    return Cell(f"{printed} {comparison.published[0].unit}".strip(), "; ".join(notes))


def _published_as(number: Published) -> str:
    """Of what a number was published, and how it came about."""
    return ", ".join(part for part in (number.model, number.data, number.views, number.show_kind()) if part)


def show_p(p: float) -> str:
    """A p value in three digits."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def settings(finding: StudyFinding) -> Table:
    """The arms of a study: their numbers, each the mean over the runs, with the lowest and the highest."""
    names = [name for name in (*finding.metrics, *COSTS) if any(arm.values(name) for arm in finding.arms)]
    header = [Cell("setting"), *map(_header, names), Cell("learning rate"), Cell("runs")]
    rows = []
    for arm in finding.arms:
        rates = arm.arm.learning_rates
        rate = arm.choice.rate if len(rates) > 1 else next(iter(rates), None)
        note = f"of {', '.join(f'{each:g}' for each in rates)}" if len(rates) > 1 else ""
        runs = Cell(f"{len(arm.finished)} of {len(arm.seeds)}", _failures(arm))
        cells = (_mean(arm.values(name)) for name in names)
        rows.append([Cell(arm.arm.name), *cells, Cell(NOTHING if rate is None else f"{rate:g}", note), runs])
    return Table(header, rows)


def _header(name: str) -> Cell:
    return Cell(METRICS[name].label, METRICS[name].unit)


def _mean(values: Sequence[float]) -> Cell:
    if not values:
        return Cell(NOTHING)
    mean, low, high = show(fmean(values), min(values), max(values))
    return Cell(mean, f"{low} to {high}" if len(values) > 1 else "")


def _failures(arm: ArmFinding) -> str:
    """What became of the runs that are not finished: "seed 2 diverged, seeds 1 and 3 missing"."""
    found: dict[str, list[str]] = {}
    for seed in arm.seeds:
        if seed.status != FINISHED:
            found.setdefault(seed.status, []).append(str(seed.seed))
    return ", ".join(f"seed{'s' if len(s) > 1 else ''} {' and '.join(s)} {status}" for status, s in found.items())


def rates(finding: StudyFinding) -> Table | None:
    """How the learning rates were chosen; None if they were not."""
    tuned = [arm for arm in finding.arms if arm.choice.errors]
    if not tuned:
        return None
    names = sorted({rate for arm in tuned for rate in arm.choice.errors})
    header = [Cell("setting"), *(Cell(f"{rate:g}") for rate in names), Cell("chosen")]
    rows = []
    for arm in tuned:
        errors = (arm.choice.errors.get(rate) for rate in names)
        cells = (Cell(NOTHING if error is None else f"{error:.2f}") for error in errors)
        rows.append([Cell(arm.arm.name), *cells, Cell(NOTHING if arm.choice.rate is None else f"{arm.choice.rate:g}")])
    return Table(header, rows)


def runs(finding: StudyFinding) -> Table:
    """Each run that counts, where it is, and what became of it."""
    names = [name for name in finding.metrics if any(arm.values(name) for arm in finding.arms)]
    header = [Cell("setting"), Cell("seed"), Cell("status"), *map(_header, names), Cell("run folder")]
    rows = [_run(arm.arm.name, seed, names) for arm in finding.arms for seed in arm.seeds]
    return Table(header, rows)


def _run(name: str, seed: Seed, names: Sequence[str]) -> list[Cell]:
    numbers = (seed.numbers.get(metric) for metric in names)
    cells = (Cell(NOTHING) if number is None else Cell(show(number)[0]) for number in numbers)
    done = "" if seed.status == FINISHED or seed.steps is None else f"{seed.steps[0]:,} of {seed.steps[1]:,} steps"
    folder = Cell(NOTHING if seed.folder is None else seed.folder.name)
    return [Cell(name), Cell(str(seed.seed)), Cell(seed.status, done), *cells, folder]


def commands(finding: StudyFinding) -> Iterator[tuple[str, str]]:
    """For each arm the command that does its first run."""
    for arm in finding.arms:
        if arm.command:
            words = [*arm.command, "--workdir=DIR"]
            yield arm.arm.name, f"python -m resnet_alexnet.main {shlex.join(words)}"


def sampling(finding: StudyFinding) -> str:
    """The sampling error of the test error, in words; empty if no files say how many images there were."""
    tested = [(seed.numbers.get("test_error"), seed.test_images) for arm in finding.arms for seed in arm.finished]
    errors = [sampling_error(error, images) for error, images in tested if images and error is not None]
    if not errors:
        return ""
    images = ", ".join(sorted({f"{images:,}" for _, images in tested if images}))
    return (
        f"{images} test images give a test error a standard error of {max(errors):.1f} points, on top of the intervals "
        "over seeds; it is shared by all settings, which are tested on the same images."
    )


def results(findings: Findings) -> Iterator[Sequence[str]]:
    """All numbers of all runs, for other programs: a row below RESULTS_HEADER for each metric of a run."""
    for finding in findings.studies:
        for arm in finding.arms:
            rates = [arm.choice.rate] if arm.choice.rate is not None else list(arm.arm.learning_rates)
            rate = f"{rates[0]:g}" if len(rates) == 1 else ""
            for seed in arm.seeds:
                start = (finding.study.name, findings.scale, arm.arm.name, str(seed.seed), rate, seed.status)
                folder = "" if seed.folder is None else seed.folder.name
                for name in dict.fromkeys([*finding.metrics, *seed.numbers]):
                    value = seed.numbers.get(name)
                    yield *start, name, METRICS[name].unit, "" if value is None else f"{value:.6g}", folder
