"""Writes figures as PNG files and as SVG text. Letters that no installed font has are boxes."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from resnet_alexnet.files import atomic_write
from resnet_alexnet.plots.fonts import complete_fonts


def write_png(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, atomically. The same figure gives the same bytes.

    Raises:
        InputError: the file cannot be written.
    """
    image = io.BytesIO()
    with _all_letters(figure):
        FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})  # which would name matplotlib's version
    with atomic_write(path) as temporary:
        temporary.write_bytes(image.getvalue())


def svg_text(figure: Figure) -> str:
    """A figure as an SVG element for a page: it refers to nothing outside. The same figure gives the same text."""
    text = io.StringIO()
    with _all_letters(figure), rc_context({"svg.hashsalt": "figure", "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(text, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.DOTALL).strip()


@contextlib.contextmanager
def _all_letters(figure: Figure) -> Iterator[None]:
    """Finds fonts for all texts of a figure; in the block nothing is said about letters that still have none."""
    complete_fonts(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        yield
