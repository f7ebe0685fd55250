"""Vega-Lite specifications: lines that end in their names, and rows of dots. Plain JSON values.

Names stand beside what they name, so no chart needs a legend. Arms whose names are in the parameter `HIDDEN` are not
drawn. The colors are those of Okabe and Ito, which people with color blindness can tell apart; networks of one family
share a color and differ by their dashes.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name, which is not loaded
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
DASHES = ((1, 0), (7, 3), (2, 3), (9, 3, 2, 3))
HIDDEN, ZOOM = "hidden", "zoom"  # parameters: names of arms, and the share of training before the part that is shown
ZOOMS = (0.0, 0.5, 0.75)
LINES_HEIGHT, ROW_HEIGHT = 300, 44  # pixels
_SHOWN = {"filter": f"indexof({HIDDEN}, datum.arm) < 0"}
_NAME_HEIGHT, _LETTER_WIDTH, _LONGEST_NAME, _VALUE_WIDTH = 17, 7.8, 170, 95  # pixels
_FAMILY = re.compile(r"(.+)-(\d+)")  # and depth, in the name of an arm

Spec = dict[str, Any]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Style:
    """How an arm is drawn."""

    color: str
    dash: Sequence[int] = DASHES[0]


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        name: for files, such as "training_curves".
        title: what it shows.
        description: how to read it, and what it says, for those who cannot see it.
        spec: of Vega-Lite.
        arms: those that can be hidden, and how they are drawn.
    """

    name: str
    title: str
    description: str
    spec: Spec
    arms: Mapping[str, Style]

    @property
    def zooms(self) -> bool:
        """Whether the last part of it can be shown alone."""
        return any(parameter["name"] == ZOOM for parameter in self.spec["params"])


def family(name: str) -> tuple[str, int] | None:
    """The family and depth of an arm such as "plain-44"; None if its name has none."""
    found = _FAMILY.fullmatch(name)
    return None if found is None else (found[1], int(found[2]))


def styles(names: Sequence[str]) -> dict[str, Style]:
    """A style for each arm: the deepest of a family has a solid line."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault((family(name) or (name, 0))[0], []).append(name)
    found = {}
    for number, members in enumerate(families.values()):
        ordered = sorted(members, key=lambda name: -(family(name) or (name, 0))[1])
        for rank, name in enumerate(ordered):
            found[name] = Style(COLORS[number % len(COLORS)], DASHES[(rank + number // len(COLORS)) % len(DASHES)])
    return {name: found[name] for name in names}


def styles_in(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Style]:
    """The styles of the arms that have rows; an arm has the same one in all charts of a study.

    Args:
        rows: with "arm".
        names: of all arms of the study.
    """
    there = {row["arm"] for row in rows}
    return {name: style for name, style in styles(names).items() if name in there}


def config(ink: str, soft: str, line: str, font: str) -> Spec:
    """The looks of all charts, in the colors of the page or of a picture."""
    axis = {"labelColor": soft, "titleColor": soft, "gridColor": line, "domainColor": line, "tickColor": line}
    sizes = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "tickSize": 4, "labelPadding": 4}
    return {
        "background": None,
        "font": font,
        "view": {"stroke": None},
        "axis": {**axis, **sizes, "titlePadding": 8},
        "axisX": {"grid": False, "labelFlush": False, "labelSeparation": 6},
        "axisY": {"domain": False, "ticks": False},
        "text": {"color": ink, "fontSize": 12},
        "title": {"color": soft, "fontSize": 12, "fontWeight": "normal", "anchor": "start", "offset": 8},
        "rule": {"color": soft},
    }


def means(rows: Sequence[Row], *, everywhere: bool = False) -> list[dict[str, Any]]:
    """The mean over the seeds of an arm at each x that all of them have, or everywhere, over those that are there."""
    found = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        seeds = len({row["seed"] for row in own})
        by_x: dict[Any, list[float]] = {}
        for row in own:
            by_x.setdefault(row["x"], []).append(row["y"])
        found += [
            {"arm": arm, "x": x, "y": rounded(fmean(ys))} for x, ys in by_x.items() if everywhere or len(ys) == seeds
        ]
    return found


def rounded(value: float) -> float:
    """Five digits, enough for a chart."""
    return float(f"{value:.5g}")


def lines(
    rows: Sequence[Row],
    arms: Mapping[str, Style],
    *,
    x: str,
    y: str,
    zooms: bool = False,
    log: bool = False,
    diagonal: bool = False,
    joined: bool = True,
) -> Spec:
    """Lines over x: bold for the mean over seeds, which its name ends, and thin for each seed.

    Args:
        rows: "arm", "seed", "x" and "y".
        arms: those that have rows, and their styles.
        x: title of the axis.
        y: title of the axis.
        zooms: whether the chart can show the last part of x alone.
        log: whether y is logarithmic.
        diagonal: whether there is a line at equal x and y.
        joined: whether the values of a seed are of one run; if not, it has dots in place of a thin line.
    """
    bold = means(rows, everywhere=not joined)
    names = max(len(arm) for arm in arms)
    room = min(round(names * _LETTER_WIDTH) + 26, _LONGEST_NAME)
    x_scale: Spec = {"zero": False, "nice": False, "range": [0, {"expr": f"width - {room}"}]}
    if zooms:  # the axis begins where the shown part does
        x_scale["domainMin"] = {"expr": f"{ZOOM} * {max(row['x'] for row in rows)}"}
    y_scale = {"type": "log"} if log else {"zero": False}
    x_axis = {"tickCount": 6} if joined else {"values": sorted({row["x"] for row in rows})}
    at_x = {"field": "x", "type": "quantitative", "title": x, "scale": x_scale, "axis": x_axis}
    ys = [row["y"] for row in rows]
    steps = log_steps(min(ys), max(ys)) if log else []
    y_axis = {"values": steps} if len(steps) > 1 else {"tickCount": 6}
    at_y = {"field": "y", "type": "quantitative", "title": None, "scale": y_scale, "axis": y_axis}
    color, dash = color_of(arms), {"field": "arm", "scale": _domain(arms, [s.dash for s in arms.values()])}
    dash["legend"] = None
    seen: list[Spec] = [{"filter": f"datum.x >= {max(row['x'] for row in rows)} * {ZOOM}"}] if zooms else []
    encoding = {"x": at_x, "y": at_y, "color": color, "strokeDash": dash}
    thin = [row for row in rows if sum(r["seed"] != row["seed"] and r["arm"] == row["arm"] for r in rows)]
    thin_mark: Spec = {"type": "line", "strokeWidth": 1, "opacity": 0.45}
    if not joined:
        thin_mark = {"type": "point", "filled": True, "size": 40, "opacity": 0.45}
    dots = {"type": "point", "filled": True, "size": 30} if len(bold) <= 12 * len(arms) else None
    ends = list(_ends(bold, rows, ZOOMS if zooms else ZOOMS[:1], log=log))
    layers = [
        layer(thin, {**thin_mark, "aria": False}, seen, **encoding, detail=_SEED),
        layer(bold, {"type": "line", "strokeWidth": 2.5}, seen, **encoding),
        *([layer(bold, {**dots, "aria": False}, seen, x=at_x, y=at_y, color=color)] if dots else []),
        *_names(ends, at_x, at_y, color, room=room, zooms=zooms),
        _tooltips([*thin, *({"seed": "mean", **row} for row in bold)], seen, at_x, at_y, y),  # above all else
    ]
    if diagonal:
        layers.insert(0, _diagonal(rows, at_x, at_y))
    spec = create(layers, height=LINES_HEIGHT, y=y)
    if zooms:
        spec["params"].append({"name": ZOOM, "value": 0})
    return spec


def _names(ends: Sequence[Row], x: Spec, y: Spec, color: Spec, *, room: float, zooms: bool) -> Iterator[Spec]:
    """The name of each line behind its end, and a thin line between the two."""
    stop = [{"filter": f"datum.stop == {ZOOM}"}] if zooms else []
    until = {"x2": {"value": {"expr": f"width - {room - 15}"}}, "y2": {"field": "place"}}
    yield layer(ends, {"type": "rule", "strokeWidth": 1, "aria": False}, stop, x=x, y=y, **until, color=color)
    mark = {"type": "text", "align": "left", "fontWeight": 600, "limit": room - 18, "aria": False}
    at = {"x": {"value": {"expr": f"width - {room - 18}"}}, "y": {**y, "field": "place"}}
    yield layer(ends, mark, stop, **at, text={"field": "arm"})


def _tooltips(points: Sequence[Row], seen: Sequence[Spec], x: Spec, y: Spec, label: str) -> Spec:
    """Invisible points that say what they are when the mouse is on them."""
    number = {"type": "quantitative", "format": ".4~g"}
    tooltip = [
        {"field": "arm", "title": "setting"},
        {"field": "seed", "title": "seed"},
        {"field": "x", "title": x["title"], **number},
        {"field": "y", "title": label, **number},
    ]
    mark = {"type": "point", "size": 120, "opacity": 0, "filled": True, "aria": False}
    return layer(points, mark, seen, x=x, y=y, tooltip=tooltip)


def _diagonal(rows: Sequence[Row], x: Spec, y: Spec) -> Spec:
    ends = [min(row["x"] for row in rows), max(row["x"] for row in rows)]
    mark = {"type": "line", "color": "#888888", "strokeDash": [3, 3], "aria": False}
    return layer([{"x": end, "y": end} for end in ends], mark, None, x=x, y=y)


def _ends(bold: Sequence[Row], rows: Sequence[Row], stops: Sequence[float], *, log: bool) -> Iterator[dict[str, Any]]:
    """The ends of the means with a place for each name, at which it covers no other, for each part of x."""
    last = {row["arm"]: row for row in bold}.values()
    to = (lambda value: math.log10(value)) if log else float
    back = (lambda value: 10**value) if log else float
    longest = max(row["x"] for row in rows)
    for stop in stops:
        shown = [to(row["y"]) for row in rows if row["x"] >= stop * longest]
        least = 1.15 * (max(shown) - min(shown)) * _NAME_HEIGHT / LINES_HEIGHT  # the axis is a little longer
        ordered = sorted(last, key=lambda row: row["y"])
        for row, place in zip(ordered, spread([to(row["y"]) for row in ordered], least), strict=True):
            yield {**row, "place": rounded(back(place)), "stop": stop}


def spread(values: Sequence[float], least: float) -> list[float]:
    """The nearest ascending values that are at least so far apart: those that are too near move around their mean."""
    groups: list[list[float]] = []  # of values less their place in the order times `least`
    for number, value in enumerate(values):
        groups.append([value - number * least])
        while len(groups) > 1 and fmean(groups[-2]) > fmean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    middles = [fmean(group) for group in groups for _ in group]
    return [middle + number * least for number, middle in enumerate(middles)]


_SEED, _NO_ROWS = {"field": "seed"}, {"values": []}


def log_steps(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 and so on, as far as they are between two positive numbers; over three decades, 1, 10 and so on."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 1000 * low else (1,)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


def layer(rows: Sequence[Row], mark: Spec, transform: Sequence[Spec] | None = (), **encoding: Any) -> Spec:
    """A layer of marks; those of hidden arms are left out, unless `transform` is None."""
    shown = {} if transform is None else {"transform": [_SHOWN, *transform]}
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding, **shown}


def rows_of(names: Sequence[str]) -> Spec:
    """A y channel with a row for each name; the names stand in the rows, above what they name."""
    return {"field": "row", "type": "nominal", "axis": None, "scale": {"domain": list(names)}}


def row_texts(texts: Sequence[Row], y: Spec) -> Iterator[Spec]:
    """The name of each row at its left, "text", and a number or word at its right, "value"."""
    for field, align, place in (("text", "left", 0), ("value", "right", "width")):
        mark = {"type": "text", "align": align, "dy": -11, "fontWeight": 600, "aria": False}
        if field == "text":
            mark["limit"] = {"expr": f"width - {_VALUE_WIDTH}"}
        yield layer(texts, mark, x={"value": place}, y=y, text={"field": field})


def create(layers: Sequence[Spec], *, height: float, y: str = "") -> Spec:
    """A specification of layers, as wide as its place; the title of the y axis stands above it."""
    spec: Spec = {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "params": [{"name": HIDDEN, "value": []}],
        "layer": [each for each in layers if each.get("data") != _NO_ROWS],
    }
    if y:
        spec["title"] = {"text": y}
    return spec


def color_of(arms: Mapping[str, Style]) -> Spec:
    """The color channel of arms."""
    return {"field": "arm", "scale": _domain(arms, [style.color for style in arms.values()]), "legend": None}


def _domain(arms: Mapping[str, Style], values: Sequence[Any]) -> Spec:
    return {"domain": list(arms), "range": list(values)}
