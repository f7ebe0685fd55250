"""The charts of a study: which it has data for, and what they say in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from resnet_alexnet.study import dots, specs
from resnet_alexnet.study.answers import show, titled
from resnet_alexnet.study.findings import StudyFinding
from resnet_alexnet.study.measured import CURVES, Curve
from resnet_alexnet.study.metrics import METRICS, TRAIN_ERROR
from resnet_alexnet.study.specs import Chart, Style, rounded
from resnet_alexnet.workdir.metrics_log import VAL_ERROR

_OVER_TRAINING = ("train_error", "mean_train_error", "epochs_to_25")  # metrics that curves show best


def charts(finding: StudyFinding) -> list[Chart]:
    """The charts for which a study has data; the first is that of its primary comparison."""
    metric = finding.verdicts[0].comparison.metric
    curves = [_learning(finding, TRAIN_ERROR, "training"), _learning(finding, VAL_ERROR, "validation")]
    found = [*curves, dots.arms(finding, metric), dots.differences(finding)]
    found += [_depths(finding, name) for name in ("train_error", "test_error") if name in finding.metrics]
    measured = {*finding.study.measurements, *(METRICS[each.metric].needs for each in finding.study.comparisons)}
    found += [_measured(finding, name, curve) for name, curve in CURVES.items() if curve.measurement in measured]
    found += [dots.corrupted(finding)] if "corrupted_error" in finding.metrics else []
    found.append(dots.costs(finding))
    first = _first(metric)
    return sorted((chart for chart in found if chart is not None), key=lambda chart: chart.name != first)


def _first(metric: str) -> str:
    """The name of the chart that shows a metric best."""
    if metric in _OVER_TRAINING:
        return "training_curves"
    measurement = METRICS[metric].needs
    return next((name for name, curve in CURVES.items() if curve.measurement == measurement), "arms")


def _learning(finding: StudyFinding, key: str, what: str) -> Chart | None:
    """Errors over epochs."""
    rows = [
        {"arm": arm.arm.name, "seed": seed.seed, "x": rounded(line["epoch"]), "y": rounded(line[key])}
        for arm in finding.arms
        for seed in arm.finished
        for line in seed.lines
        if line.get(key) is not None and line.get("epoch") is not None
    ]
    if not rows:
        return None
    arms = specs.styles_in(rows, finding.names)
    return Chart(
        f"{what}_curves",
        titled(finding, f"{what.capitalize()} error while the networks learn"),
        f"The {what} error in percent over epochs. {_thin(rows)}{_ends(rows, '%')}",
        specs.lines(rows, arms, x="epochs", y=f"{what} error, %", zooms=True),
        arms,
    )


def _measured(finding: StudyFinding, name: str, curve: Curve) -> Chart | None:
    """What was measured, over depth, severity or confidence."""
    rows = [
        {"arm": arm.arm.name, "seed": seed.seed, "x": x, "y": rounded(y)}
        for arm in finding.arms
        for seed in arm.finished
        for x, y in seed.points.get(name, ())
    ]
    if not rows:
        return None
    arms = specs.styles_in(rows, finding.names)
    if curve.by_name:
        return Chart(name, curve.title, f"{curve.about}{_of_rows(rows)}", dots.by_name(rows, arms, curve.y), arms)
    about = f"{curve.y.partition(',')[0].capitalize()} over {curve.x.partition(',')[0]}. {curve.about} {_thin(rows)}"
    spec = specs.lines(rows, arms, x=curve.x, y=curve.y, log=curve.log, diagonal=curve.diagonal)
    return Chart(name, curve.title, f"{about}{_ends(rows)}", spec, arms)


def _depths(finding: StudyFinding, metric: str) -> Chart | None:
    """A metric over depth, a line for each family of networks of which there are two depths."""
    rows = []
    for arm in finding.arms:
        known = specs.family(arm.arm.name)
        if known is not None:
            about = {"arm": known[0], "x": known[1]}
            rows += [
                {**about, "seed": seed.seed, "y": rounded(seed.numbers[metric])}
                for seed in arm.finished
                if metric in seed.numbers
            ]
    depths = {name: {row["x"] for row in rows if row["arm"] == name} for name in {row["arm"] for row in rows}}
    rows = [row for row in rows if len(depths[row["arm"]]) > 1]
    if not rows:
        return None
    every = specs.styles(finding.names)
    arms = {(specs.family(name) or (name, 0))[0]: Style(style.color) for name, style in every.items()}
    arms = {name: style for name, style in arms.items() if len(depths.get(name, ())) > 1}
    label = METRICS[metric].label
    found = sorted(specs.means(rows, everywhere=True), key=lambda row: row["x"])
    said = "".join(f" {row['arm']}-{row['x']} {show(row['y'])[0]} %." for row in found)
    return Chart(
        f"{metric}_over_depth",
        titled(finding, f"{label.capitalize()} over depth"),
        f"The {label} of networks over their number of layers: dots for runs, lines through their means.{said}",
        specs.lines(rows, arms, x="layers", y=f"{label}, %", joined=False),
        arms,
    )


def _thin(rows: Sequence[Mapping[str, Any]]) -> str:
    """What thin lines are, if there are any."""
    several = len({row["seed"] for row in rows}) > 1
    return "Thin lines are single runs, bold ones their mean. " if several else "One run each. "


def _ends(rows: Sequence[Mapping[str, Any]], unit: str = "") -> str:
    """The means at the ends of lines, from low to high."""
    last = {row["arm"]: row["y"] for row in specs.means(rows)}
    ordered = sorted(last.items(), key=lambda item: item[1])
    said = ", ".join(f"{name} {show(value)[0]}" for name, value in ordered)
    return f"At their right ends: {said}{' ' if unit else ''}{unit}."


def _of_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """The means of each row of dots."""
    found: dict[str, list[str]] = {}
    for row in specs.means(rows):
        found.setdefault(row["x"], []).append(f"{row['arm']} {show(row['y'])[0]}")
    return ". ".join(f"{name}: {', '.join(values)}" for name, values in found.items()) + "."
