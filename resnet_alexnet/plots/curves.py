"""Draws the curves of a run: errors and losses over steps, in the style of [H15] figure 4."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_alexnet.errors import InputError
from resnet_alexnet.plots import style
from resnet_alexnet.plots.formats import write_png
from resnet_alexnet.plots.style import FAINT

TRAIN_COLOR, VAL_COLOR, *_, TEST_COLOR = style.COLORS
DRAWN = ("train/top1_error", "val/top1_error", "test/top1_error", "train/loss", "val/loss")

Line = Mapping[str, Any]


def has_curves(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some line of metrics.jsonl has an error or a loss."""
    return any(line.get(key) is not None for line in lines for key in DRAWN)


def draw(lines: Sequence[Line], path: Path, *, title: str) -> None:
    """Draws the errors (left) and losses (right) of a run over steps as a PNG of 1000 x 450 pixels.

    Training curves are thin, validation curves bold, and the test error is a point. The learning rate is a faint curve
    behind the losses, with an axis of its own on the right; faint vertical lines are its drops. The file is written
    atomically.

    Args:
        lines: the lines of metrics.jsonl in order; errors in percent; a None is a gap.
        path: the PNG to write.
        title: the title of the run.

    Raises:
        InputError: no line has an error or a loss.

    Source: [H15] figure 4 (thin training error, bold validation error).
    Departure: the loss, the learning rate, the epoch axis and the test error are not in the figure.
    """
    if not has_curves(lines):
        raise InputError(f"nothing to draw for {path}: no line has any of {', '.join(DRAWN)}")
    figure = Figure(figsize=(10, 4.5), dpi=100, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08, wspace=0.03)  # type: ignore[union-attr]
    name = title if len(title) <= 60 else f"{title[:59]}…"
    figure.suptitle(name, x=0.01, ha="left", fontsize=14, fontweight="bold", parse_math=False)
    error, loss = figure.subplots(1, 2)
    _draw_errors(error, lines)
    _draw_losses(loss, lines)
    for axes in (error, loss):
        _draw_drops(axes, lines)
        _dress(axes, lines)
    _draw_learning_rate(loss, lines)
    _draw_legend(figure, (error, loss))
    write_png(figure, path)


def series(lines: Iterable[Line], key: str) -> tuple[list[int], list[float]]:
    """Returns the steps and values of the lines that have `key`; a None becomes NaN, a gap in the curve."""
    held = [(line["step"], line[key]) for line in lines if key in line]
    return [step for step, _ in held], [float("nan") if value is None else value for _, value in held]


def learning_rate_drops(lines: Iterable[Line]) -> list[tuple[int, float]]:
    """Returns (step, new learning rate) where a constant learning rate falls; a smooth decay has no drops."""
    steps, values = series(lines, "learning_rate")
    return [
        (steps[i], values[i])
        for i in range(2, len(values))
        if values[i] < 0.9 * values[i - 1] and values[i - 1] == values[i - 2]
    ]


def _draw_errors(axes: Axes, lines: Sequence[Line]) -> None:
    axes.set_ylabel("top-1 error (%)")
    _plot(axes, lines, "train/top1_error", color=TRAIN_COLOR, label="training", linewidth=1.1)
    _plot(axes, lines, "val/top1_error", color=VAL_COLOR, label="validation", linewidth=2.6)
    steps, errors = series(lines, "test/top1_error")
    if errors:
        label = f"test {errors[-1]:.2f} %"
        axes.plot(steps[-1:], errors[-1:], "D", color=TEST_COLOR, markersize=7, label=label, clip_on=False, zorder=4)
    axes.set_ylim(0, min(axes.get_ylim()[1], 101))


def _draw_losses(axes: Axes, lines: Sequence[Line]) -> None:
    axes.set_ylabel("loss (nats)")
    _plot(axes, lines, "train/loss", color=TRAIN_COLOR, label="training", linewidth=1.1)
    _plot(axes, lines, "val/loss", color=VAL_COLOR, label="validation", linewidth=2.6)
    axes.set_ylim(bottom=0)


def _draw_learning_rate(losses: Axes, lines: Sequence[Line]) -> None:
    """Draws the learning rate behind the losses, against an axis on the right."""
    steps, rates = series(lines, "learning_rate")
    if not steps:
        return
    axes = losses.twinx()
    style.draw_curve(axes, steps, rates, color=FAINT, linewidth=1, linestyle=(0, (4, 2)), label="learning rate")
    axes.set_ylabel("learning rate", color=FAINT)
    axes.tick_params(axis="y", colors=FAINT)
    axes.set_ylim(0, max([1e-12, *(rate for rate in rates if rate == rate)]) * 1.05)
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.spines[["left", "top", "bottom"]].set_visible(False)
    axes.spines["right"].set_color(FAINT)
    losses.set_zorder(axes.get_zorder() + 1)
    losses.patch.set_visible(False)  # which would hide the axes behind


def _plot(axes: Axes, lines: Sequence[Line], key: str, **looks: Any) -> None:
    steps, values = series(lines, key)
    if steps:
        style.draw_curve(axes, steps, values, **looks)


def _draw_drops(axes: Axes, lines: Sequence[Line]) -> None:
    for step, learning_rate in learning_rate_drops(lines):
        axes.axvline(step, color=FAINT, linewidth=0.8, alpha=0.6, zorder=0)
        axes.annotate(
            f"lr {learning_rate:.2g}",
            (step, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-3, -5),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize=8,
            color=FAINT,
        )


def _dress(axes: Axes, lines: Sequence[Line]) -> None:
    """Sets the scales, grid and frame of the axes; the top axis shows epochs if the lines have them."""
    style.dress_steps(axes)
    last_step = max(line["step"] for line in lines)
    axes.set_xlim(0, max(last_step, 1) * 1.02)
    steps_per_epoch = _steps_per_epoch(lines)
    if steps_per_epoch is not None:
        top = axes.secondary_xaxis(
            "top",
            functions=(
                lambda step: np.divide(step, steps_per_epoch),
                lambda epoch: np.multiply(epoch, steps_per_epoch),
            ),
        )
        top.set_xlabel("epoch")
        top.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _draw_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Draws one legend for both panels, next to the title, where it hides no curve."""
    entries: dict[str, Artist] = {}
    for axes in (each for panel in panels for each in (panel, *panel.get_shared_x_axes().get_siblings(panel))):
        handles, labels = axes.get_legend_handles_labels()
        entries = {**dict(zip(labels, handles, strict=True)), **entries}
    names, handles = list(entries), list(entries.values())
    legend = style.draw_legend(
        figure, handles, names, loc="upper right", ncols=len(entries), borderaxespad=0.2, columnspacing=1.5
    )
    # It shares a row with the title: the layout must not add a row for it.
    legend.set_in_layout(False)


def _steps_per_epoch(lines: Sequence[Line]) -> float | None:
    for line in reversed(lines):
        if line.get("epoch") and line["step"]:
            return line["step"] / line["epoch"]
    return None
