"""Draws a sweep: the curves of its settings overlaid, and the error over the fields that differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from resnet_alexnet.errors import InputError, shorten
from resnet_alexnet.plots import style
from resnet_alexnet.plots.formats import write_png
from resnet_alexnet.plots.style import COLORS, FAINT

Curve = tuple[Sequence[int], Sequence[float]]  # steps, and errors in percent
_SHADES = colormaps["viridis"]  # by the error: dark is good
_LIGHTEST = 0.85  # of the shades: lighter ones cannot be seen on white
_REST = "#bfbfbf"  # settings that the legend does not name
_LONGEST = 20  # characters of a value
_LOG_RATIO = 8.0  # largest over smallest value from which an axis is logarithmic


@dataclass(frozen=True)
class Setting:
    """The runs of one setting.

    Attributes:
        values: by field; those of the fields that differ between settings.
        curves: the validation error of each run.
        finals: the last validation error of each finished run, in percent; empty if none is finished.
    """

    values: Mapping[str, Any]
    curves: Sequence[Curve]
    finals: Sequence[float]


def draw_sweep(settings: Sequence[Setting], path: Path, *, title: str) -> None:
    """Draws a sweep as a PNG of 1100 x 520 pixels.

    Left: the validation errors over steps, a thin line for each run and a bold one for the mean of a setting of several
    runs. Right: the last error over the fields: dots for one field, a heat map for two, parallel coordinates for more,
    and for two whose grid is mostly empty. On the right, dark is good.

    Args:
        settings: in any order; all have the same fields.
        path: the PNG to write.
        title: of the picture.

    Raises:
        InputError: no run has a validation error yet.
    """
    if not any(steps for setting in settings for steps, _ in setting.curves):
        raise InputError(f"nothing to draw for {path}: no run has a validation error yet")
    ranked = sorted(settings, key=lambda setting: fmean(setting.finals) if setting.finals else math.inf)
    fields = list(settings[0].values)
    finished = [setting for setting in ranked if setting.finals]
    figure = Figure(figsize=(11, 5.2), dpi=100, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08, wspace=0.04)  # type: ignore[union-attr]
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold", parse_math=False)
    left, right = figure.subplots(1, 2) if fields and finished else (figure.subplots(), None)
    _draw_curves(left, ranked)
    if right is None:
        pass
    elif len(fields) == 1:
        _draw_dots(right, finished, fields[0])
    elif len(fields) == 2 and _is_grid(finished, fields):
        _draw_heat_map(right, finished, fields)
    else:
        _draw_parallel(right, finished, fields)
    _draw_legend(figure, left)
    write_png(figure, path)


def _draw_curves(axes: Axes, ranked: Sequence[Setting]) -> None:
    for rank, setting in reversed(list(enumerate(ranked))):  # the best on top
        color = COLORS[rank] if rank < len(COLORS) else _REST
        label = ", ".join(f"{field} {_text(value)}" for field, value in setting.values.items()) or "all runs"
        curves = [curve for curve in setting.curves if curve[0]]
        several = len(curves) > 1
        for number, (steps, errors) in enumerate(curves):
            style.draw_curve(
                axes,
                steps,
                errors,
                color=color,
                linewidth=0.8 if several else 2,
                alpha=0.6 if several else 1,
                label=None if several or number else label,
            )
        if several:
            style.draw_curve(axes, *_mean_curve(curves), color=color, linewidth=2.4, label=label)
    style.dress_steps(axes)
    axes.set_ylabel("validation error (%)")


def _draw_legend(figure: Figure, curves: Axes) -> None:
    """Names the settings below the panels, the best first."""
    handles, labels = curves.get_legend_handles_labels()
    best = list(zip(handles, labels, strict=True))[::-1][: len(COLORS)]
    title = f"the best {len(best)} of {len(handles)} settings" if len(handles) > len(best) else None
    columns = 3 if max(map(len, labels)) < 45 else 2
    style.draw_legend(
        figure, *zip(*best, strict=True), title=title, fontsize=9, loc="outside lower left", ncols=columns
    )


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean at the steps that all curves have."""
    by_step = [dict(zip(*curve, strict=True)) for curve in curves]
    steps = sorted(set.intersection(*map(set, by_step)))
    return steps, [fmean(errors[step] for errors in by_step) for step in steps]


def _draw_dots(axes: Axes, settings: Sequence[Setting], field: str) -> None:
    places, ticks = _places([setting.values[field] for setting in settings])
    for place, setting in zip(places, settings, strict=True):
        axes.plot([place] * len(setting.finals), setting.finals, "o", color=_SHADES(0.3), alpha=0.6, clip_on=False)
    means = sorted((place, fmean(setting.finals)) for place, setting in zip(places, settings, strict=True))
    line = "-" if all(_is_number(setting.values[field]) for setting in settings) else ""
    axes.plot(*zip(*means, strict=True), color=_SHADES(0.3), linewidth=2, linestyle=line, marker="_", markersize=24)
    axes.set_xticks(list(ticks), list(ticks.values()), parse_math=False)
    axes.set_xlim(-0.05, 1.05)
    axes.set_xlabel(field, parse_math=False)
    axes.set_ylabel("last validation error (%)")
    style.dress(axes)


def _is_grid(settings: Sequence[Setting], fields: Sequence[str]) -> bool:
    """Whether at least half of the cells of a heat map would have a value."""
    cells = math.prod(len({setting.values[field] for setting in settings}) for field in fields)
    return len(settings) >= cells / 2


def _draw_heat_map(axes: Axes, settings: Sequence[Setting], fields: Sequence[str]) -> None:
    rows, columns = (_ordered([setting.values[field] for setting in settings]) for field in fields)
    errors = np.full((len(rows), len(columns)), np.nan)
    for setting in settings:
        row, column = (setting.values[field] for field in fields)
        errors[rows.index(row), columns.index(column)] = fmean(setting.finals)
    shown = axes.imshow(errors, cmap=_SHADES, aspect="auto")
    middle = (np.nanmin(errors) + np.nanmax(errors)) / 2
    for row, column in np.ndindex(*errors.shape):
        if not np.isnan(errors[row, column]):
            color = "white" if errors[row, column] <= middle else "black"
            axes.text(column, row, f"{errors[row, column]:.1f}", ha="center", va="center", color=color)
    axes.set_yticks(range(len(rows)), list(map(_text, rows)), parse_math=False)
    axes.set_xticks(range(len(columns)), list(map(_text, columns)), parse_math=False)
    axes.set_ylabel(fields[0], parse_math=False)
    axes.set_xlabel(fields[1], parse_math=False)
    axes.figure.colorbar(shown, ax=axes, label="last validation error (%), mean over runs")


def _draw_parallel(axes: Axes, settings: Sequence[Setting], fields: Sequence[str]) -> None:
    """A vertical axis for each field and one for the error; a line for each setting."""
    errors = [fmean(setting.finals) for setting in settings]
    lowest, highest = min(errors), max(errors)
    scale = Normalize(lowest, highest if highest > lowest else lowest + 1)
    placed = [_places([setting.values[field] for setting in settings]) for field in fields]
    for number, (_, ticks) in enumerate(placed):
        axes.axvline(number, color=FAINT, linewidth=1)
        for place, text in ticks.items():
            _annotate(axes, text, (number, place))
    axes.axvline(len(fields), color=FAINT, linewidth=1)
    for error in {lowest, highest}:
        _annotate(axes, f"{error:.1f} %", (len(fields), float(scale(error))))
    for index in reversed(range(len(settings))):  # the best on top
        heights = [*(places[index] for places, _ in placed), float(scale(errors[index]))]
        color = _SHADES(_LIGHTEST * float(scale(errors[index])))
        axes.plot(range(len(heights)), heights, color=color, linewidth=2 if index == 0 else 1.2, alpha=0.9)
    names = [field.replace("_", " ") for field in fields]
    axes.set_xticks(range(len(fields) + 1), [*names, "last validation\nerror"], parse_math=False)
    axes.yaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_formatter(NullFormatter())
    axes.spines[:].set_visible(False)


def _annotate(axes: Axes, text: str, place: tuple[float, float]) -> None:
    """Writes a tick of a vertical axis to its right, where lines do not hide it."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    looks = {"fontsize": 8, "va": "center", "bbox": box, "zorder": 4, "parse_math": False}
    axes.annotate(text, place, xytext=(4, 0), textcoords="offset points", **looks)


def _places(values: Sequence[Any]) -> tuple[list[float], dict[float, str]]:
    """Where values stand on an axis from 0 to 1, and the texts of its ticks.

    Numbers stand by their size, or by its logarithm if they differ much; everything else stands in equal distances.
    """
    different = _ordered(values)
    if all(_is_number(value) for value in different) and len(different) > 1:
        is_log = different[0] > 0 and different[-1] / different[0] >= _LOG_RATIO
        sizes = [math.log(value) if is_log else float(value) for value in different]
        heights = [(size - sizes[0]) / (sizes[-1] - sizes[0]) for size in sizes]
    else:
        heights = [number / max(len(different) - 1, 1) for number in range(len(different))]
    ticks = dict(zip(heights, map(_text, different), strict=True))
    if len(ticks) > 8:  # of random points
        ticks = {heights[number]: _text(different[number]) for number in (0, len(heights) // 2, -1)}
    return [heights[different.index(value)] for value in values], ticks


def _ordered(values: Sequence[Any]) -> list[Any]:
    """The different values: numbers by size, everything else as they come."""
    different = list(dict.fromkeys(values))
    return sorted(different) if all(_is_number(value) for value in different) else different


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return "unset" if value is None else f"{value:g}" if _is_number(value) else shorten(str(value), _LONGEST)
