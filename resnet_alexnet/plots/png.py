"""Writes figures as PNG files."""

import io
import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resnet_alexnet.files import atomic_write
from resnet_alexnet.plots.fonts import complete_fonts


def write_png(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, atomically. Letters that no installed font has are boxes.

    Raises:
        InputError: the file cannot be written.
    """
    complete_fonts(figure)
    image = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        # Without the name and version of the software, so that the same run gives the same bytes.
        FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})
    with atomic_write(path) as temporary:
        temporary.write_bytes(image.getvalue())
