"""What all pictures of curves have in common: colors, axes and legends."""

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

# Okabe and Ito's colors that can be seen on white, which color-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FAINT = "#8c8c8c"


def draw_curve(axes: Axes, steps: Sequence[int], values: Sequence[float], **style: Any) -> Line2D:
    """Draws a curve; one of a single point has a marker, without which it could not be seen."""
    (line,) = axes.plot(steps, values, marker="o" if len(steps) == 1 else None, solid_joinstyle="round", **style)
    return line


def dress(axes: Axes) -> None:
    """Gives axes faint lines at the ticks on the left, and no frame but there and below."""
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def dress_steps(axes: Axes) -> None:
    """`dress`, for curves over steps."""
    dress(axes)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def draw_legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str], **style: Any) -> Legend:
    """Names curves below or above the panels. A name is shown as it is: none is a formula."""
    legend = figure.legend(handles, names, frameon=False, **style)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend
