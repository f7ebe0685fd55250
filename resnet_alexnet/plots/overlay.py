"""Draws the curves of several runs over each other."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from resnet_alexnet.errors import InputError
from resnet_alexnet.plots.curves import series
from resnet_alexnet.plots.png import write_png

# Okabe and Ito's colors that can be seen on white, then the same dashed and dotted: 21 runs can be told apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)))
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
    for index, (name, lines) in enumerate(drawn.items()):
        style = {"color": COLORS[index % len(COLORS)], "linestyle": STYLES[index // len(COLORS) % len(STYLES)]}
        for axes, (metric, _) in zip(panels, _PANELS, strict=True):
            handle = _draw_run(axes, lines, metric, few=len(drawn) <= _FEW, **style)
        handle.set_label(name)
        handles.append(handle)
    for axes, (metric, label) in zip(panels, _PANELS, strict=True):
        _dress(axes, label, most=100.0 if metric == "top1_error" else None)
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    title = "validation bold, training thin" if len(drawn) <= _FEW else "validation, or training where there is none"
    figure.suptitle(title, x=0.99, ha="right", fontsize=9, color="#595959")
    return figure


def _draw_run(axes: Axes, lines: Lines, metric: str, *, few: bool, **style: Any):
    """Draws the curves of a run, and returns the handle of its entry in the legend."""
    steps, values = series(lines, f"val/{metric}")
    if few or not steps:
        thin_steps, thin_values = series(lines, f"train/{metric}")
        axes.plot(thin_steps, thin_values, linewidth=0.9, alpha=0.8, marker=_marker(thin_steps), **style)
    (handle,) = axes.plot(steps, values, linewidth=2.0 if few else 1.3, marker=_marker(steps), markersize=4, **style)
    return handle


def _marker(steps: Sequence[int]) -> str | None:
    return "o" if len(steps) == 1 else None  # a curve of one point is only visible with a marker


def _dress(axes: Axes, label: str, *, most: float | None) -> None:
    axes.set_ylabel(label)
    axes.set_xlabel("step")
    axes.set_ylim(bottom=0)
    if most is not None:
        axes.set_ylim(top=min(axes.get_ylim()[1], most + 1))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def write_overlay(runs: Mapping[str, Lines], path: Path) -> None:
    """Writes `draw_overlay` as a PNG, atomically.

    Raises:
        InputError: there is nothing to draw, or the file cannot be written.
    """
    write_png(draw_overlay(runs), path)


def svg_overlay(runs: Mapping[str, Lines]) -> str:
    """`draw_overlay` as an SVG element, to be put into a page: it refers to nothing outside.

    Raises:
        InputError: there is nothing to draw.
    """
    figure, text = draw_overlay(runs), io.StringIO()
    with rc_context({"svg.hashsalt": "overlay", "svg.fonttype": "path"}):  # the same runs give the same text
        FigureCanvasSVG(figure).print_svg(text, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.DOTALL).strip()
