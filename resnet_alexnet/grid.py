"""Pictures made of many images, each with its caption."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from resnet_alexnet.curves import write_png

_INCHES = 1.3  # a cell's side
_LONGEST = 22  # characters of a caption's line that fit under a cell

Image = UInt8[np.ndarray, "height width channels"]


def draw(rows: Sequence[Sequence[tuple[Image, str]]], path: Path) -> None:
    """Draws rows of images with captions as a PNG; the file appears whole or not at all.

    Args:
        rows: of images; with one channel they are grey. Shorter rows end with blank cells.
        path: the PNG to write.
    """
    height, width = len(rows), max(map(len, rows))
    figure = Figure(figsize=(width * _INCHES, height * (_INCHES + 0.3)), dpi=110, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)  # type: ignore[union-attr]
    for line, row in zip(figure.subplots(height, width, squeeze=False), rows, strict=True):
        for axes, cell in itertools.zip_longest(line, row):
            axes.set_axis_off()
            if cell is not None:
                image, caption = cell
                axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                title = "\n".join(map(_shortened, caption.split("\n")))
                axes.set_title(title, fontsize=6, pad=2, parse_math=False)
    write_png(figure, path)


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
