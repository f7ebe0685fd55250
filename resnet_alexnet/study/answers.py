"""The answers of studies in words, made from their verdicts."""

from collections.abc import Sequence

from resnet_alexnet.study import verdicts
from resnet_alexnet.study.design import Comparison
from resnet_alexnet.study.findings import StudyFinding, Verdict
from resnet_alexnet.study.metrics import METRICS, Metric

MINUS = "\N{MINUS SIGN}"
_HEADS = {
    verdicts.REPRODUCED: "As claimed, {}.",
    verdicts.DIFFERS: "Not as claimed: {}.",
    verdicts.WITHIN_NOISE: "Undecided, for the difference is within the noise: {}.",
    verdicts.INDICATIVE: "Too few runs for a verdict; they point {} the claim: {}.",
}


def answer(finding: StudyFinding) -> str:
    """The answer to the question of a study, by its primary comparison, in one sentence."""
    return describe(finding, finding.verdicts[0])


def describe(finding: StudyFinding, verdict: Verdict) -> str:
    """What the runs say about a comparison, in one sentence."""
    comparison, difference = verdict.comparison, verdict.difference
    if difference.value is None:
        return f"Not answered: {_lacking(finding, verdict)}."
    head = _HEADS[difference.verdict]
    if difference.verdict == verdicts.INDICATIVE:
        return head.format("to" if _agrees(difference.value, comparison) else "away from", _said(verdict))
    if _is_equal(verdict):
        return head.format(
            f"the two are equal within {amount(f'{comparison.margin:g}', METRICS[comparison.metric])}; {_said(verdict)}"
        )
    return head.format(_said(verdict))


def holds(finding: StudyFinding) -> bool:
    """Whether the runs point to every claim that the headline of a study rests on."""
    chosen = finding.study.headline_claims or range(len(finding.verdicts))
    differences = [(finding.verdicts[n].comparison, finding.verdicts[n].difference.value) for n in chosen]
    return all(value is not None and _agrees(value, comparison) for comparison, value in differences)


def titled(finding: StudyFinding, title: str) -> str:
    """The title of a chart behind the headline of its study, if that holds."""
    headline = finding.study.headline
    return f"{headline}: {title[0].lower()}{title[1:]}" if headline and holds(finding) else title


def show(*values: float) -> list[str]:
    """Numbers with equally many digits behind the point, as the largest of them needs."""
    largest = max(map(abs, values))
    digits = 3 if largest < 0.1 else next(digits for digits, least in ((0, 100), (1, 10), (2, 0)) if largest >= least)
    return [f"{value:,.{digits if largest else 0}f}".replace("-", MINUS) for value in values]


def amount(shown: str, metric: Metric) -> str:
    """A difference of a metric, as it is shown, with its unit."""
    unit = metric.difference_unit
    return f"{shown} {unit.removesuffix('s') if shown == '1' else unit}".strip()


def count_runs(*groups: Sequence[float]) -> str:
    """The number of runs of some arms: "3 seeds each"."""
    fewest, most = min(map(len, groups)), max(map(len, groups))
    if fewest == most:
        return f"{most} seed{'s' if most > 1 else ''} each"
    return " and ".join(str(len(group)) for group in groups) + " seeds"


def _said(verdict: Verdict) -> str:
    """That the metric of one arm is larger than that of the other, by how much, and over how many runs."""
    comparison, difference = verdict.comparison, verdict.difference
    value = difference.value or 0.0
    interval = difference.equality if _is_equal(verdict) else difference.interval
    confidence = 90 if _is_equal(verdict) else 95
    a, b = comparison.larger, comparison.smaller
    if value < 0:
        value, a, b = -value, b, a
        interval = None if interval is None else (-interval[1], -interval[0])
    ends = show(value, *(interval or ()))
    by = amount(ends[0], METRICS[comparison.metric])
    runs = count_runs(verdict.larger, verdict.smaller)
    within = f", {confidence} % interval {ends[1]} to {ends[2]}" if interval is not None else ""
    return f"{METRICS[comparison.metric].sentence.format(a=a, b=b, by=by)} ({runs}{within})"


def _is_equal(verdict: Verdict) -> bool:
    """Whether the verdict is that the two arms are equal within the margin."""
    word = verdicts.REPRODUCED if verdict.comparison.claims_equality else verdicts.DIFFERS
    low, high = verdict.difference.equality or (0.0, 0.0)
    inside = -verdict.comparison.margin < low and high < verdict.comparison.margin
    return inside and verdict.difference.verdict == word


def _agrees(value: float, comparison: Comparison) -> bool:
    return abs(value) < comparison.margin if comparison.claims_equality else value > 0


def _lacking(finding: StudyFinding, verdict: Verdict) -> str:
    """Why a comparison has no numbers."""
    names = [verdict.comparison.larger, verdict.comparison.smaller]
    if absent := [name for name in names if not finding.arm(name).finished]:
        return f"no run of {' and '.join(absent)} is finished"
    metric = METRICS[verdict.comparison.metric]
    without = " and ".join(name for name in names if not finding.arm(name).values(verdict.comparison.metric))
    return f"no {metric.label} {'was measured ' if metric.needs else ''}for {without}"
