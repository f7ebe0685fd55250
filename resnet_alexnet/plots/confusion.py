"""Draws a confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from resnet_alexnet.plots.formats import write_png

MOST_NAMED = 30  # up to this many classes, each cell shows its numbers
_LISTED = 25  # how many of the most frequent confusions are listed if there are more classes
_LONGEST = 24  # characters of a class name
_DPI = 100
_COLORS = "Blues"
_TEXT_TURNS_WHITE = 60  # percent


def draw_confusion(
    matrix: Int[np.ndarray, "classes classes"],
    confusions: Sequence[tuple[int, int, int]],
    names: Sequence[str],
    path: Path,
    *,
    title: str,
) -> None:
    """Draws the predictions (columns) for each class (rows), in percent of the images of the class, as a PNG.

    With up to MOST_NAMED classes each cell shows the percentage and the number of images. With more classes, a class is
    a row and a column of at least one pixel, and the most frequent confusions are listed next to the matrix.

    Args:
        matrix: number of images by class and prediction.
        confusions: (class, prediction, images), the most frequent first.
        names: the class names.
        path: the file, which is written atomically.
        title: the title above the matrix.
    """
    total = matrix.sum(axis=1, keepdims=True)
    percent = 100 * matrix / np.maximum(total, 1)
    names = [_shortened(name) for name in names]
    if len(names) <= MOST_NAMED:
        figure = _draw_cells(matrix, percent, names)
    else:
        figure = _draw_pixels(matrix, percent, names, confusions[:_LISTED])
    figure.suptitle(_shortened(title, 90), x=0.02, ha="left", fontsize=13, fontweight="bold", parse_math=False)
    write_png(figure, path)


def _draw_cells(matrix: np.ndarray, percent: np.ndarray, names: Sequence[str]) -> Figure:
    count = len(names)
    side = max(5.0, 0.62 * count + 2)
    figure = Figure(figsize=(side + 0.6, side + 0.4), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(percent, cmap=_COLORS, vmin=0, vmax=100)
    for row in range(count):
        for column in range(count):
            if matrix[row, column]:
                value = percent[row, column]
                text = f"{value:.0f} %" if value >= 1 else "<1 %"
                color = "white" if value > _TEXT_TURNS_WHITE else "black"
                axes.text(
                    column,
                    row,
                    f"{text}\n{matrix[row, column]:,}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=color,
                    linespacing=1.3,
                )
    axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=9, parse_math=False)
    axes.set_yticks(range(count), names, fontsize=9, parse_math=False)
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="#e6e6e6", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    _label(axes)
    return figure


def _draw_pixels(
    matrix: np.ndarray, percent: np.ndarray, names: Sequence[str], listed: Sequence[tuple[int, int, int]]
) -> Figure:
    count = len(names)
    pixels = count * -(-600 // count)  # whole pixels per cell, so that no cell is lost
    left, bottom, top, right = 80, 70, 60, 520
    width, height = left + pixels + right, bottom + pixels + top
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axes = figure.add_axes((left / width, bottom / height, pixels / width, pixels / height))
    # A color map that starts steeply and not at white, so that a single misclassified image is visible.
    colors = LinearSegmentedColormap.from_list("", colormaps[_COLORS](np.linspace(0.3, 1, 256)))
    shown = np.ma.masked_equal(percent, 0)
    image = axes.imshow(shown, cmap=colors, norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
    _label(axes)
    bar = figure.add_axes(((left + pixels + 20) / width, bottom / height, 14 / width, pixels / height))
    figure.colorbar(image, cax=bar, ticks=(0, 1, 5, 20, 50, 100), format="{x:.0f} %")
    totals = matrix.sum(axis=1)
    lines = [
        f"{images:,} of {totals[row]:,}  {names[row]} classified as {names[column]}" for row, column, images in listed
    ]
    figure.text(
        (left + pixels + 95) / width,
        (bottom + pixels) / height,
        "\n".join(["most frequent confusions, in images", "", *lines]),
        va="top",
        fontsize=9,
        linespacing=1.5,
        parse_math=False,
    )
    return figure


def _label(axes: Axes) -> None:
    axes.set_xlabel("prediction")
    axes.set_ylabel("class")


def _shortened(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
