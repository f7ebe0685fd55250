"""The charts of a study, as Vega-Lite specifications: plain JSON values, which a browser or `pictures` draws.

Each chart has a title, a description in words for those who cannot see it, and its numbers, which the report also shows
as a table. Colors are those of Okabe and Ito, which people with color blindness can tell apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from resnet_alexnet.study import verdicts
from resnet_alexnet.study.answers import holds
from resnet_alexnet.study.findings import ArmFinding, StudyFinding
from resnet_alexnet.study.measured import CURVES, Curves
from resnet_alexnet.study.metrics import METRICS, TRAIN_ERROR
from resnet_alexnet.workdir.metrics_log import VAL_ERROR

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name, which is not loaded
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#666666")
HIDDEN = "hidden"  # the parameter with the names of the arms that are not shown
_SHOWN = f"indexof({HIDDEN}, datum.arm) < 0"
_LABEL_HEIGHT = 0.07  # of a chart of curves
_METRIC = "test_error"  # of dots and costs, unless the study compares another one

Spec = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        name: for files, such as "curves".
        title: what it shows.
        description: the same in a sentence, with its axes.
        spec: of Vega-Lite.
        arms: those that can be hidden, with their colors.
    """

    name: str
    title: str
    description: str
    spec: Spec
    arms: Mapping[str, str]


def charts(finding: StudyFinding) -> list[Chart]:
    """The charts for which a study has data."""
    found = [_curves(finding, TRAIN_ERROR, "training"), _curves(finding, VAL_ERROR, "validation")]
    found += [_dots(finding), _differences(finding), _costs(finding)]
    found += [_measured(finding, curves) for curves in CURVES]
    return [chart for chart in found if chart is not None]


def colors(finding: StudyFinding) -> dict[str, str]:
    """The color of each arm."""
    return {arm.arm.name: COLORS[number % len(COLORS)] for number, arm in enumerate(finding.arms)}


def _curves(finding: StudyFinding, key: str, what: str) -> Chart | None:
    """Errors over epochs: a thin line for each seed, a bold one for their mean, which its name ends."""
    rows = [row for arm in finding.arms for row in _curve_rows(arm, key)]
    if not rows:
        return None
    means = list(_means(rows))
    last = max(row["epoch"] for row in rows)
    x = _axis("epoch", "epochs", scale={"domain": [0, last * 1.4], "nice": False})
    y = _axis("error", f"{what} error, %", scale={"zero": False})
    color = _color(finding)
    layers = [
        _layer(rows, {"type": "line", "strokeWidth": 1, "opacity": 0.35}, x, y, color, detail="seed"),
        _layer(means, {"type": "line", "strokeWidth": 2.5}, x, y, color),
        _layer(
            _spread([row for row in means if row["last"]], [row["error"] for row in rows]),
            {"type": "text", "align": "left", "dx": 6, "fontSize": 12, "fontWeight": "bold"},
            x,
            {**y, "field": "place"},
            color,
            text="arm",
        ),
    ]
    title = f"{what.capitalize()} error during training"
    if finding.study.headline and holds(finding):
        title = f"{finding.study.headline}: {what} error during training"
    return Chart(
        f"{what}_curves",
        title,
        f"Lines of the {what} error in percent over epochs, one color for each setting: thin for a run, bold for the "
        "mean over runs.",
        _spec(layers, height=280),
        colors(finding),
    )


def _curve_rows(arm: ArmFinding, key: str) -> Iterator[dict[str, Any]]:
    for seed in arm.seeds:
        for line in seed.run.state.lines if seed.run is not None else ():
            if line.get(key) is not None:
                yield {"arm": arm.arm.name, "seed": seed.seed, "epoch": round(line["epoch"], 3), "error": line[key]}


def _means(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The mean over the seeds of an arm at each epoch that all of them have."""
    arms = dict.fromkeys(row["arm"] for row in rows)
    for arm in arms:
        own = [row for row in rows if row["arm"] == arm]
        seeds = len({row["seed"] for row in own})
        by_epoch: dict[float, list[float]] = {}
        for row in own:
            by_epoch.setdefault(row["epoch"], []).append(row["error"])
        means = {epoch: fmean(errors) for epoch, errors in sorted(by_epoch.items()) if len(errors) == seeds}
        for epoch, error in means.items():
            yield {"arm": arm, "epoch": epoch, "error": round(error, 3), "last": epoch == max(means)}


def _spread(rows: Sequence[Mapping[str, Any]], errors: Sequence[float]) -> list[dict[str, Any]]:
    """The ends of curves with a place for the name of each, at which it does not cover the one below."""
    least = (max(errors) - min(errors)) * _LABEL_HEIGHT
    placed: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: row["error"]):
        lowest = placed[-1]["place"] + least if placed else row["error"]
        placed.append({**row, "place": round(max(row["error"], lowest), 3)})
    return placed


def _dots(finding: StudyFinding) -> Chart | None:
    """The primary metric of each arm: a dot for each run, and the mean with its interval."""
    metric = METRICS[finding.verdicts[0].comparison.metric]
    name = finding.verdicts[0].comparison.metric
    rows, intervals = [], []
    for arm in finding.arms:
        for seed in arm.seeds:
            value = seed.value(name)
            if value is not None:
                rows.append({"arm": arm.arm.name, "seed": seed.seed, "value": round(value, 4)})
        values = arm.values(name)
        if values:
            low, high = verdicts.mean_interval(values) or (None, None)
            intervals.append({"arm": arm.arm.name, "mean": fmean(values), "low": low, "high": high})
    if not rows:
        return None
    unit = f", {metric.unit}" if metric.unit else ""
    x = _axis("value", f"{metric.label}{unit}", scale={"zero": False})
    y = {"field": "arm", "type": "nominal", "sort": list(colors(finding)), "title": None, "axis": {"labelLimit": 220}}
    color = _color(finding)
    layers = [
        _layer(
            [each for each in intervals if each["low"] is not None],
            {"type": "rule", "strokeWidth": 1.5},
            {**x, "field": "low"},
            y,
            color,
            x2={"field": "high"},
        ),
        _layer(intervals, {"type": "tick", "thickness": 3, "size": 18}, {**x, "field": "mean"}, y, color),
        _layer(rows, {"type": "point", "filled": True, "size": 55, "opacity": 0.75}, x, y, color, detail="seed"),
    ]
    return Chart(
        "arms",
        f"{metric.label[0].upper()}{metric.label[1:]} of each setting",
        f"For each setting a dot for the {metric.label} of each run, a tick at the mean, and a line over the 95 % "
        "interval of the mean.",
        _spec(layers, height=30 * len(finding.arms)),
        colors(finding),
    )


def _differences(finding: StudyFinding) -> Chart | None:
    """Each comparison: the difference with its interval, zero, and the margin within which arms count as equal."""
    rows = []
    for number, verdict in enumerate(finding.verdicts, start=1):
        comparison, difference = verdict.comparison, verdict.difference
        if difference.value is None:
            continue
        low, high = difference.interval or (None, None)
        rows.append(
            {
                "claim": f"{number}. {comparison.larger} minus {comparison.smaller}",
                "difference": difference.value,
                "low": low,
                "high": high,
                "verdict": difference.verdict,
                "margin": comparison.margin,
                "below": -comparison.margin,
                "metric": METRICS[comparison.metric].label,
            }
        )
    if not rows:
        return None
    x = _axis("difference", "difference, by the claim above zero")
    y = {"field": "claim", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 260}}
    shade = {"type": "bar", "opacity": 0.15, "color": "#888888", "height": {"band": 0.9}}
    mark = {"value": COLORS[0]}
    layers = [
        _layer(rows, shade, {**x, "field": "below"}, y, {"value": "#888888"}, x2={"field": "margin"}),
        {"mark": {"type": "rule", "strokeDash": [3, 3], "color": "#888888"}, "encoding": {"x": {"datum": 0}}},
        _layer(
            [row for row in rows if row["low"] is not None],
            {"type": "rule", "strokeWidth": 2},
            {**x, "field": "low"},
            y,
            mark,
            x2={"field": "high"},
        ),
        _layer(rows, {"type": "point", "filled": True, "size": 80, "opacity": 1}, x, y, mark),
    ]
    return Chart(
        "differences",
        "Differences between settings",
        "For each comparison the difference of the means with its 95 % interval. A gray band shows the margin within "
        "which two settings count as equal.",
        _spec(layers, height=34 * len(rows), hides=False),
        {},
    )


def _costs(finding: StudyFinding) -> Chart | None:
    """The test error over the seconds that training steps took."""
    rows = []
    for arm in finding.arms:
        for seed in arm.seeds:
            if seed.run is None or not seed.run.num_steps:
                continue
            error, seconds = seed.value(_METRIC), _step_seconds(seed.run.state.lines)
            if error is not None and seconds:
                rows.append({"arm": arm.arm.name, "seed": seed.seed, "seconds": round(seconds, 1), "error": error})
    if not rows:
        return None
    x, y = _axis("seconds", "seconds of training steps", scale={"zero": True}), _axis("error", "test error, %")
    y["scale"] = {"zero": False}
    layers = [_layer(rows, {"type": "point", "filled": True, "size": 70}, x, y, _color(finding), detail="seed")]
    layers.append(
        _layer(
            [row for row in rows if row["seed"] == min(each["seed"] for each in rows if each["arm"] == row["arm"])],
            {"type": "text", "align": "left", "dx": 8, "fontSize": 11},
            x,
            y,
            _color(finding),
            text="arm",
        )
    )
    return Chart(
        "costs",
        "Test error and what it costs",
        "A dot for each run: the seconds that its training steps took, and its test error in percent.",
        _spec(layers, height=260),
        colors(finding),
    )


def _measured(finding: StudyFinding, curves: Curves) -> Chart | None:
    """Curves of what was measured, a line for each arm: the mean over its runs."""
    rows = [
        {"arm": arm.arm.name, "x": x, "y": round(y, 5), "last": False}
        for arm in finding.arms
        for x, y in curves.of(arm)
    ]
    if not rows:
        return None
    ends = {row["arm"]: row for row in rows}.values()
    x, y = _axis("x", curves.x, scale={"zero": False, "padding": 20}), _axis("y", curves.y, scale={"zero": False})
    if curves.name == "gradients":
        y["scale"] = {"type": "log"}
    color = _color(finding)
    layers = [
        _layer(rows, {"type": "line", "strokeWidth": 2, "point": True}, x, y, color),
        _layer(list(ends), {"type": "text", "align": "right", "dy": -9, "fontSize": 11}, x, y, color, text="arm"),
    ]
    about = f"{curves.title}: {curves.y} over {curves.x}, a line for each setting, the mean over its runs."
    return Chart(curves.name, curves.title, about, _spec(layers, height=260), colors(finding))


def _step_seconds(lines: Sequence[Mapping[str, Any]]) -> float:
    return sum(line.get("seconds/steps", 0.0) for line in lines)


def _axis(field: str, title: str, **options: Any) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, **options}


def _color(finding: StudyFinding) -> Spec:
    named = colors(finding)
    scale = {"domain": list(named), "range": list(named.values())}
    return {"field": "arm", "type": "nominal", "scale": scale, "legend": None}


def _layer(
    rows: Sequence[Mapping[str, Any]], mark: Spec, x: Spec, y: Spec, color: Spec, *, detail: str = "", **channels: Any
) -> Spec:
    tooltip = [{"field": name} for name in (rows[0] if rows else ()) if name not in ("last", "below", "place")]
    encoding = {"x": x, "y": y, "color": color, "tooltip": tooltip}
    if detail:
        encoding["detail"] = {"field": detail}
    for name, channel in channels.items():
        encoding[name] = {"field": channel} if isinstance(channel, str) else channel
    return {"data": {"values": list(rows)}, "mark": {**mark, "tooltip": True}, "encoding": encoding}


def _spec(layers: Sequence[Spec], *, height: Any, hides: bool = True) -> Spec:
    """A specification of the layers that have data, as wide as its place.

    Arms whose names are in the parameter are not drawn.
    """
    layers = [layer for layer in layers if layer.get("data", {}).get("values") != []]
    spec: Spec = {"$schema": SCHEMA, "width": "container", "height": height, "layer": layers}
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    if hides:
        spec["params"] = [{"name": HIDDEN, "value": []}]
        for layer in layers:
            layer["transform"] = [{"filter": _SHOWN}]
    return spec
