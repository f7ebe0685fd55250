"""Pictures made of many images, each with its caption."""

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
        rows: of as many images each; with one channel they are grey.
        path: the PNG to write.
    """
    height, width = len(rows), len(rows[0])
    figure = Figure(figsize=(width * _INCHES, height * (_INCHES + 0.3)), dpi=110, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)  # type: ignore[union-attr]
    for axes, (image, caption) in zip(
        figure.subplots(height, width, squeeze=False).flat, (cell for row in rows for cell in row), strict=True
    ):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title("\n".join(map(_shortened, caption.split("\n"))), fontsize=6, pad=2, parse_math=False)
    write_png(figure, path)


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
