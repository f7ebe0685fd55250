"""The answers of studies in words, made from their verdicts."""

from statistics import fmean

from resnet_alexnet.study import verdicts
from resnet_alexnet.study.design import Comparison
from resnet_alexnet.study.findings import StudyFinding, Verdict
from resnet_alexnet.study.metrics import METRICS


def answer(finding: StudyFinding) -> str:
    """The answer to the question of a study, by its primary comparison."""
    primary = finding.verdicts[0]
    if primary.difference.value is None:
        return f"Not answered: {_lacking(finding, primary)}."
    return f"{_head(primary)}. {primary.comparison.claim} {numbers(primary)}"


def numbers(verdict: Verdict) -> str:
    """The means of the two arms of a comparison and their difference, as a sentence."""
    comparison, difference = verdict.comparison, verdict.difference
    metric = METRICS[comparison.metric]
    unit = f" {metric.unit}" if metric.unit else ""
    larger, smaller = fmean(verdict.larger), fmean(verdict.smaller)
    text = f"{metric.label.capitalize()}: {larger:.3g}{unit} for {comparison.larger}, {smaller:.3g}{unit} for "
    text += comparison.smaller
    if difference.interval is not None and difference.value is not None:
        low, high = difference.interval
        text += f"; difference {difference.value:.3g}, 95 % interval {low:.3g} to {high:.3g}"
    runs = min(len(verdict.larger), len(verdict.smaller))
    return f"{text} ({runs} seed{'s' if runs > 1 else ''} each)."


def holds(finding: StudyFinding) -> bool:
    """Whether the runs point to every claim of a study, be it for a verdict or for lack of seeds."""
    differences = [(verdict.comparison, verdict.difference.value) for verdict in finding.verdicts]
    return all(value is not None and _agrees(value, comparison) for comparison, value in differences)


def _lacking(finding: StudyFinding, verdict: Verdict) -> str:
    """Why a comparison has no numbers."""
    names = [verdict.comparison.larger, verdict.comparison.smaller]
    if absent := [name for name in names if not finding.arm(name).finished]:
        return f"no run of {' and '.join(absent)} is finished"
    return f"the {METRICS[verdict.comparison.metric].label} was not measured"


def _head(verdict: Verdict) -> str:
    difference = verdict.difference
    if difference.verdict == verdicts.INDICATIVE:
        agrees = _agrees(difference.value or 0.0, verdict.comparison)
        return f"Indicative only, for too few seeds: the runs point {'to' if agrees else 'away from'} the claim"
    return {
        verdicts.REPRODUCED: "Yes, as claimed",
        verdicts.DIFFERS: "No, other than claimed",
        verdicts.WITHIN_NOISE: "Undecided: the difference is within the noise of these runs",
    }[difference.verdict]


def _agrees(value: float, comparison: Comparison) -> bool:
    return abs(value) < comparison.margin if comparison.claims_equality else value > 0
