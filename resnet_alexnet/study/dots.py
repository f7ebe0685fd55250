"""Charts of dots: the arms of a study, the differences of its comparisons, and what each arm costs."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from resnet_alexnet.study import specs, verdicts
from resnet_alexnet.study.answers import MINUS, show
from resnet_alexnet.study.findings import StudyFinding, Verdict
from resnet_alexnet.study.metrics import METRICS
from resnet_alexnet.study.specs import LINES_HEIGHT, ROW_HEIGHT, Chart, Spec, Style, layer, rounded

_ROOM = 60  # pixels for a number at the right


def arms(finding: StudyFinding, name: str) -> Chart | None:
    """A metric of each arm: a dot for each run, and the mean with its interval."""
    metric = METRICS[name]
    rows, texts, intervals = [], [], []
    for arm in finding.arms:
        values, at = arm.values(name), {"arm": arm.arm.name, "row": arm.arm.name}
        for seed in arm.finished:
            if name in seed.numbers:
                rows.append({**at, "seed": seed.seed, "x": rounded(seed.numbers[name])})
        if values:
            low, high = verdicts.mean_interval(values) or (None, None)
            intervals.append({**at, "mean": fmean(values), "low": low, "high": high})
        state = "" if len(values) == len(arm.seeds) else f", {len(values)} of {len(arm.seeds)} runs"
        texts.append({**at, "text": arm.arm.name + state, "value": show(fmean(values))[0] if values else ""})
    if not rows:
        return None
    every = specs.styles(finding.names)
    title = f"{metric.label}, {metric.unit}" if metric.unit else metric.label
    x, y, color = _value_axis("x", metric.unit or None), specs.rows_of(list(every)), specs.color_of(every)
    tick = {"type": "tick", "thickness": 3, "size": 16, "yOffset": 8, "aria": False}
    dot = {"type": "point", "filled": True, "size": 60, "opacity": 0.75, "yOffset": 8}
    tooltip = [_tip("arm", "setting"), _tip("seed", "seed"), _tip("x", title)]
    layers = [
        _intervals(intervals, x, y, color),
        layer(intervals, tick, x={**x, "field": "mean"}, y=y, color=color),
        layer(rows, dot, x=x, y=y, color=color, tooltip=tooltip),
        *specs.row_texts(texts, y),
    ]
    means = ", ".join(f"{text['arm']} {text['value']}" for text in texts if text["value"])
    return Chart(
        "arms",
        f"Each setting: {metric.label}",
        "A dot for each run, a bar and the number at the right for their mean, a line for the 95 % interval of the "
        f"mean. Means: {means}.",
        specs.create(layers, height=ROW_HEIGHT * len(texts)),
        every,
    )


def differences(finding: StudyFinding) -> Chart | None:
    """Each comparison whose metric has the unit of the primary one: the difference, its interval, and the margin."""
    unit = METRICS[finding.verdicts[0].comparison.metric].difference_unit
    same = [each for each in finding.verdicts if METRICS[each.comparison.metric].difference_unit == unit]
    several = len({each.comparison.metric for each in same}) > 1
    rows = [_difference(number, each, several) for number, each in enumerate(finding.verdicts, 1) if each in same]
    known = [row for row in rows if row["x"] is not None]
    if not known:
        return None
    x, y = _value_axis("x", f"difference{f', {unit}' if unit else ''}"), specs.rows_of([row["row"] for row in rows])
    band = {"type": "bar", "color": "#888888", "opacity": 0.16, "height": 16, "yOffset": 8, "aria": False}
    dot = {"type": "point", "filled": True, "size": 80, "yOffset": 8, "color": specs.COLORS[0], "opacity": 1}
    tooltip = [_tip("text", "comparison"), _tip("x", "difference"), _tip("low", "from"), _tip("high", "to")]
    layers = [
        layer(rows, band, None, x={**x, "field": "below"}, x2={"field": "margin"}, y=y),
        {"mark": {"type": "rule", "strokeDash": [3, 3]}, "encoding": {"x": {"datum": 0}}},
        _intervals(known, x, y, {"value": specs.COLORS[0]}),
        layer(known, dot, None, x=x, y=y, tooltip=[*tooltip, _tip("value", "verdict")]),
        *specs.row_texts(rows, y),
    ]
    said = ". ".join(f"{row['text']}: {show(row['x'])[0]}, {row['value']}" for row in known)
    return Chart(
        "differences",
        "Differences between settings",
        "By each claim the difference is above zero, or none. The line is its 95 % interval; within the gray band the "
        f"two count as equal. {said}.",
        specs.create(layers, height=ROW_HEIGHT * len(rows)),
        {},
    )


def _difference(number: int, verdict: Verdict, several: bool) -> dict[str, Any]:
    comparison, difference = verdict.comparison, verdict.difference
    low, high = difference.interval or (None, None)
    label = f": {METRICS[comparison.metric].label}" if several else ""
    return {
        "arm": "",  # of both
        "row": f"{number}",
        "text": f"{comparison.larger} {MINUS} {comparison.smaller}{label}",
        "value": difference.verdict,
        "x": difference.value,
        "low": low,
        "high": high,
        "below": -comparison.margin,
        "margin": comparison.margin,
    }


def _intervals(rows: Sequence[Mapping[str, Any]], x: Spec, y: Spec, color: Spec) -> Spec:
    """A line from "low" to "high" in each row that has them."""
    there = [row for row in rows if row["low"] is not None]
    mark = {"type": "rule", "strokeWidth": 2, "yOffset": 8, "aria": False}
    return layer(there, mark, x={**x, "field": "low"}, x2={"field": "high"}, y=y, color=color)


def costs(finding: StudyFinding) -> Chart | None:
    """The test error over the seconds that training steps took."""
    about = "The time is that of all training steps, at the speed that was measured after the run."
    return _scatter(finding, "costs", "Test error and what it costs", about, "training_seconds", "test_error")


def corrupted(finding: StudyFinding) -> Chart | None:
    """The error on corrupted images over that on images as they are."""
    about = "Networks with the same error on clean images stand above one another: the higher, the less robust."
    return _scatter(
        finding, "clean", "Error on corrupted images over clean ones", about, "test_error", "corrupted_error"
    )


def _scatter(finding: StudyFinding, name: str, title: str, about: str, x_name: str, y_name: str) -> Chart | None:
    """A metric over another one."""
    names, labels = {"x": x_name, "y": y_name}, {}
    for axis, metric in (("x", METRICS[x_name]), ("y", METRICS[y_name])):
        labels[axis] = f"{metric.label}, {metric.unit}"
    rows = []
    for arm in finding.arms:
        means = {each: fmean(values) for each in names.values() if (values := arm.values(each))}
        for seed in arm.finished:
            known = {**means, **seed.numbers}  # some are measured once for all seeds
            if all(each in known for each in names.values()):
                both = {axis: rounded(known[each]) for axis, each in names.items()}
                rows.append({"arm": arm.arm.name, "seed": seed.seed, **both})
    if not rows:
        return None
    drawn = specs.styles_in(rows, finding.names)
    middles = [_middle(arm, [row for row in rows if row["arm"] == arm]) for arm in drawn]
    values = [row["x"] for row in rows]
    is_log = max(values) > 8 * min(values) > 0
    scale = {"type": "log", "nice": False, "padding": 24} if is_log else {"zero": False, "padding": 24}
    axis = {"grid": True, **({"values": specs.log_steps(min(values), max(values))} if is_log else {"tickCount": 6})}
    x = _value_axis("x", labels["x"], scale=scale, axis=axis)
    y = {"field": "y", "type": "quantitative", "title": None, "scale": {"zero": False}, "axis": {"tickCount": 6}}
    color = specs.color_of(drawn)
    tooltip = [_tip("arm", "setting"), _tip("seed", "seed"), _tip("x", labels["x"]), _tip("y", labels["y"])]
    mark = {"type": "text", "align": "left", "dx": 9, "fontWeight": 600, "aria": False}
    place = {"x": x, "y": {**y, "field": "place"}, "text": {"field": "arm"}}
    layers = [
        layer(rows, {"type": "point", "filled": True, "size": 35, "opacity": 0.5}, x=x, y=y, color=color),
        layer(middles, {"type": "point", "filled": True, "size": 110, "opacity": 1}, x=x, y=y, color=color),
        layer(list(_apart(middles, log=is_log)), mark, **place),
    ]
    layers[0]["encoding"]["tooltip"] = layers[1]["encoding"]["tooltip"] = tooltip
    units = [METRICS[each].unit for each in (y_name, x_name)]
    said = ", ".join(
        f"{row['arm']} {show(row['y'])[0]} {units[0]} at {show(row['x'])[0]} {units[1]}" for row in middles
    )
    return Chart(
        name,
        title,
        f"A small dot for each run, a large one for their mean. {about} Means: {said}.",
        specs.create(layers, height=LINES_HEIGHT, y=labels["y"]),
        drawn,
    )


def _middle(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"arm": name, "seed": "mean", **{axis: rounded(fmean(row[axis] for row in rows)) for axis in "xy"}}


def _apart(middles: Sequence[Mapping[str, Any]], *, log: bool) -> Iterator[dict[str, Any]]:
    """A place for the name of each mean dot, at which it covers none of those beside it."""
    to: Callable[[float], float] = math.log10 if log else float
    xs, ys = [to(row["x"]) for row in middles], [row["y"] for row in middles]
    wide, least = (max(xs) - min(xs)) * 0.3, (max(ys) - min(ys)) * 0.07
    groups: list[list[Mapping[str, Any]]] = []
    for row in sorted(middles, key=lambda row: row["x"]):
        if groups and to(row["x"]) - to(groups[-1][-1]["x"]) <= wide:
            groups[-1].append(row)
        else:
            groups.append([row])
    for group in groups:
        ordered = sorted(group, key=lambda row: row["y"])
        for row, place in zip(ordered, specs.spread([row["y"] for row in ordered], least), strict=True):
            yield {**row, "place": rounded(place)}


def _value_axis(field: str, title: str | None, **options: Any) -> Spec:
    scale = {"zero": False, "range": [0, {"expr": f"width - {_ROOM}"}], **options.pop("scale", {})}
    axis = {"grid": True, "tickCount": 6}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis, **options}


def _tip(field: str, title: str) -> Spec:
    """A line of what is shown over a mark."""
    return {"field": field, "title": title, **({} if field in ("arm", "seed", "text", "value") else {"format": ".4~g"})}


def by_name(rows: Sequence[Mapping[str, Any]], arms: Mapping[str, Style], title: str) -> Spec:
    """A row for each name at x, with a dot for the mean of each arm."""
    names = list(dict.fromkeys(str(row["x"]) for row in rows))
    found = [{**row, "row": row["x"]} for row in specs.means(rows)]
    y = specs.rows_of(names)
    x = {"field": "y", "type": "quantitative", "title": title, "scale": {"zero": False}, "axis": {"grid": True}}
    mark = {"type": "point", "filled": True, "size": 90, "opacity": 0.9, "yOffset": 8}
    dots = layer(found, mark, x=x, y=y, color=specs.color_of(arms), tooltip=[_tip("arm", "setting"), _tip("y", title)])
    texts = layer(
        [{"row": name} for name in names],
        {"type": "text", "align": "left", "dy": -11, "fontWeight": 600, "aria": False},
        None,
        x={"value": 0},
        y=y,
        text={"field": "row"},
    )
    return specs.create([dots, texts], height=ROW_HEIGHT * len(names))
