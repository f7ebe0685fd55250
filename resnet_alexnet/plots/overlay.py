"""Draws the curves of several runs over each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resnet_alexnet.errors import InputError
from resnet_alexnet.plots import style
from resnet_alexnet.plots.curves import series
from resnet_alexnet.plots.formats import svg_text, write_png
from resnet_alexnet.plots.style import COLORS

STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)))  # each with all colors: 21 runs can be told apart
_FEW = 4  # runs up to which the training curves are drawn too
_PANELS = (("top1_error", "top-1 error (%)"), ("loss", "loss (nats)"))

Lines = Sequence[Mapping[str, Any]]


def draw_overlay(runs: Mapping[str, Lines]) -> Figure:
    """The errors (left) and losses (right) of runs over steps, with a legend of their names below.

    Validation curves are bold; the training curves, thin, are drawn for a few runs, and for one without validation.

    Args:
        runs: the lines of metrics.jsonl by the name of the run; a None in them is a gap.

    Raises:
        InputError: no run has an error or a loss.
    """
    keys = {f"{split}/{metric}" for split in ("train", "val") for metric, _ in _PANELS}
    if not any(line.get(key) is not None for lines in runs.values() for line in lines for key in keys):
        raise InputError("nothing to draw: none of the runs has an error or a loss")
    drawn = {name: lines for name, lines in runs.items() if any(key in line for line in lines for key in keys)}
    longest = max(map(len, drawn))
    columns = 1 if longest > 60 else 2 if longest > 28 else 4
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(10, 4.4 + 0.22 * rows), dpi=100, layout="constrained")
    panels = figure.subplots(1, 2)
    handles = []
    for index, lines in enumerate(drawn.values()):
        looks = {"color": COLORS[index % len(COLORS)], "linestyle": STYLES[index // len(COLORS) % len(STYLES)]}
        for axes, (metric, _) in zip(panels, _PANELS, strict=True):
            handle = _draw_run(axes, lines, metric, few=len(drawn) <= _FEW, **looks)
        handles.append(handle)
    for axes, (metric, label) in zip(panels, _PANELS, strict=True):
        _dress(axes, label, most=100.0 if metric == "top1_error" else None)
    style.draw_legend(figure, handles, list(drawn), loc="outside lower center", ncols=columns, fontsize=8)
    title = "validation bold, training thin" if len(drawn) <= _FEW else "validation, or training where there is none"
    figure.suptitle(title, x=0.99, ha="right", fontsize=9, color="#595959")
    return figure


def _draw_run(axes: Axes, lines: Lines, metric: str, *, few: bool, **looks: Any) -> Line2D:
    """Draws the curves of a run, and returns the handle of its entry in the legend."""
    steps, values = series(lines, f"val/{metric}")
    if few or not steps:
        thin_steps, thin_values = series(lines, f"train/{metric}")
        style.draw_curve(axes, thin_steps, thin_values, linewidth=0.9, alpha=0.8, **looks)
    return style.draw_curve(axes, steps, values, linewidth=2.0 if few else 1.3, markersize=4, **looks)


def _dress(axes: Axes, label: str, *, most: float | None) -> None:
    style.dress_steps(axes)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    if most is not None:
        axes.set_ylim(top=min(axes.get_ylim()[1], most + 1))
    axes.set_xlim(left=0)


def write_overlay(runs: Mapping[str, Lines], path: Path) -> None:
    """Writes `draw_overlay` as a PNG, atomically.

    Raises:
        InputError: there is nothing to draw, or the file cannot be written.
    """
    write_png(draw_overlay(runs), path)


def svg_overlay(runs: Mapping[str, Lines]) -> str:
    """`draw_overlay` as an SVG element, see `svg_text`.

    Raises:
        InputError: there is nothing to draw.
    """
    return svg_text(draw_overlay(runs))
