"""The tables of a report: claims, settings and runs of a study, as text cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from resnet_alexnet.study.findings import Findings, Seed, StudyFinding, Verdict
from resnet_alexnet.study.metrics import METRICS
from resnet_alexnet.study.verdicts import WITHIN_NOISE, sampling_error

NOTHING = "-"


@dataclass(frozen=True)
class Table:
    """A table of text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def claims(finding: StudyFinding) -> Table:
    """The comparisons of a study and their verdicts."""
    header = ("claim", "verdict", "difference (95 % interval)", "p", "published")
    return Table(header, [_claim(verdict) for verdict in finding.verdicts])


def _claim(verdict: Verdict) -> tuple[str, ...]:
    comparison, difference = verdict.comparison, verdict.difference
    metric = METRICS[comparison.metric]
    unit = f" {metric.unit}" if metric.unit else ""
    p = _p(difference.p) + ("" if verdict.adjusted_p is None else f" (Holm {_p(verdict.adjusted_p)})")
    published = NOTHING
    if comparison.published is not None:
        first, second = comparison.published
        published = f"{first:g} and {second:g}: {first - second:.2f}"
    value = NOTHING if difference.value is None else f"{difference.value:.3g}{unit}"
    if difference.interval is not None:
        value += f" ({' to '.join(f'{end:.3g}' for end in difference.interval)})"
    said = difference.verdict
    if said == WITHIN_NOISE and difference.detectable is not None:
        said += f" (a difference of {difference.detectable:.2g} would have been seen)"
    about = f"{comparison.source}; {metric.label} of {comparison.larger} minus {comparison.smaller}"
    return f"{comparison.claim} ({about}; margin {comparison.margin:g})", said, value, p, published


def _p(p: float | None) -> str:
    return NOTHING if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001"


def settings(finding: StudyFinding) -> Table:
    """The arms of a study: how each was tuned, and its numbers."""
    names = metrics_of(finding)
    header = ["setting", "learning rate", "runs", *(_header(name) for name in names)]
    rows = []
    for arm in finding.arms:
        candidates = ", ".join(f"{rate:g}" for rate in arm.arm.learning_rates)
        rate = candidates or NOTHING if arm.choice.rate is None else f"{arm.choice.rate:g} of {candidates}"
        runs = f"{len(arm.finished)} of {len(arm.seeds)}"
        rows.append([arm.arm.name, rate, runs, *(_mean(arm.values(name)) for name in names)])
    return Table(header, rows)


def metrics_of(finding: StudyFinding) -> list[str]:
    """The metrics that a study compares, and the test error."""
    return list(dict.fromkeys(["test_error", *(each.metric for each in finding.study.comparisons)]))


def _header(name: str) -> str:
    metric = METRICS[name]
    return f"{metric.label}, {metric.unit}" if metric.unit else metric.label


def _mean(values: Sequence[float]) -> str:
    if not values:
        return NOTHING
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{fmean(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def runs(finding: StudyFinding) -> Table:
    """Each run that counts, where it is, and what became of it."""
    names = metrics_of(finding)
    header = ["setting", "seed", "run folder", "status", *(_header(name) for name in names)]
    rows = [_run(arm.arm.name, seed, names) for arm in finding.arms for seed in arm.seeds]
    return Table(header, rows)


def _run(name: str, seed: Seed, names: Sequence[str]) -> list[str]:
    values = [seed.value(metric) for metric in names]
    numbers = [NOTHING if value is None else f"{value:.4g}" for value in values]
    return [name, str(seed.seed), "" if seed.folder is None else seed.folder.name, seed.status, *numbers]


def results(findings: Findings) -> Table:
    """All numbers of all runs: a row for each metric of a run."""
    header = ("study", "scale", "setting", "seed", "learning_rate", "status", "metric", "unit", "value", "run_folder")
    rows = []
    for finding in findings.studies:
        for arm in finding.arms:
            rates = [arm.choice.rate] if arm.choice.rate is not None else list(arm.arm.learning_rates)
            rate = f"{rates[0]:g}" if len(rates) == 1 else ""
            for seed in arm.seeds:
                start = (finding.study.name, findings.scale, arm.arm.name, str(seed.seed), rate, seed.status)
                folder = "" if seed.folder is None else seed.folder.name
                for name in metrics_of(finding):
                    value = seed.value(name)
                    number = "" if value is None else f"{value:.6g}"
                    rows.append((*start, name, METRICS[name].unit, number, folder))
    return Table(header, rows)


def test_images(finding: StudyFinding) -> str:
    """The sampling error of the test error of the best arm, in words; empty if no run was tested by `evaluate`."""
    for arm in finding.arms:
        for run in arm.finished:
            report = run.measured("test")
            if report is not None:
                error = sampling_error(report["top1_error"], report["images"])
                return f"{report['images']:,} test images: a standard error of {error:.2f} points, in every run alike"
    return ""
