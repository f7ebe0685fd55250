"""Writes figures as PNG files."""

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resnet_alexnet.files import atomic_write


def write_png(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, whole or not at all; InputError where it cannot be written."""
    image = io.BytesIO()
    # No software name and version in the file: the same run gives the same bytes.
    FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})
    with atomic_write(path) as temporary:
        temporary.write_bytes(image.getvalue())
