"""Draws grids of images with captions."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from resnet_alexnet.plots.formats import write_png

_INCHES = 1.3  # side of a cell
_LONGEST = 22  # characters of a caption line that fit a cell
_GAP = 0.25  # of the width of a cell
_DPI = 110
WRONG = "#c8102e"  # color of the frame around a wrong image

Image = UInt8[np.ndarray, "height width channels"]


class Cell(NamedTuple):
    """An image, its caption, and the color of its frame; an empty color draws no frame."""

    image: Image
    caption: str
    frame: str = ""


def draw(
    rows: Sequence[Sequence[tuple[Image, str] | tuple[Image, str, str]]], path: Path, *, gap_after: int = 0
) -> None:
    """Draws rows of images with captions as a PNG, which is written atomically.

    Args:
        rows: rows of `Cell` or (image, caption); images with one channel are gray. Shorter rows end with blank cells.
        path: the PNG to write.
        gap_after: number of columns before a gap; 0 for no gap.
    """
    height, width = len(rows), max(map(len, rows))
    widths = [1.0] * width
    if gap_after:
        widths.insert(gap_after, _GAP)
    inches = (sum(widths) * _INCHES, height * (_INCHES + 0.3))
    figure = Figure(figsize=inches, dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)  # type: ignore[union-attr]
    grid = figure.subplots(height, len(widths), squeeze=False, gridspec_kw={"width_ratios": widths})
    if gap_after:
        for axes in grid[:, gap_after]:
            axes.set_axis_off()
        grid = np.delete(grid, gap_after, axis=1)
    for line, row in zip(grid, rows, strict=True):
        for axes, cell in itertools.zip_longest(line, row):
            axes.set_axis_off()
            if cell is not None:
                _draw_cell(axes, Cell(cell[0], cell[1], *cell[2:]))
    write_png(figure, path)


def _draw_cell(axes: Axes, cell: Cell) -> None:
    axes.imshow(cell.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    caption = "\n".join(map(_shortened, cell.caption.split("\n")))
    axes.set_title(caption, fontsize=6, pad=2, parse_math=False)
    if cell.frame:
        corner, sides = (0, 0), (1, 1)
        frame = Rectangle(corner, *sides, transform=axes.transAxes, fill=False, edgecolor=cell.frame, linewidth=3)
        axes.add_patch(frame)


def draw_blocks(blocks: Sequence[tuple[Image, str]], path: Path, *, title: str) -> None:
    """Draws images below each other, pixel by pixel, as a PNG, which is written atomically.

    Args:
        blocks: (image, caption above it), all of the same width.
        path: the PNG to write.
        title: the title above all images.
    """
    margin, head = 0.1, 0.3  # inches
    gaps = [0.22 if caption else 0.0 for _, caption in blocks]
    widest = max(image.shape[1] for image, _ in blocks) / _DPI
    tall = sum(image.shape[0] for image, _ in blocks) / _DPI
    width, height = max(widest, 4.0) + 2 * margin, tall + head + sum(gaps) + margin
    figure = Figure(figsize=(width, height), dpi=_DPI)
    figure.text(margin / width, 1 - head / 2 / height, title, fontsize=8, va="center", parse_math=False)
    top = height - head
    for (image, caption), gap in zip(blocks, gaps, strict=True):
        figure.text(margin / width, (top - gap / 2) / height, caption, fontsize=7, va="center", parse_math=False)
        rows, columns = image.shape[0] / _DPI, image.shape[1] / _DPI
        top -= gap + rows
        axes = figure.add_axes((margin / width, top / height, columns / width, rows / height))
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
    write_png(figure, path)


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
