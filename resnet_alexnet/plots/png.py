"""Writes figures as PNG files."""

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resnet_alexnet.files import atomic_write


def write_png(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, atomically.

    Raises:
        InputError: the file cannot be written.
    """
    image = io.BytesIO()
    # Without the name and version of the software, so that the same run gives the same bytes.
    FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})
    with atomic_write(path) as temporary:
        temporary.write_bytes(image.getvalue())
