"""Class names in scripts that matplotlib's own font lacks."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from PIL import Image

from resnet_alexnet.plots import fonts, formats
from resnet_alexnet.plots.confusion import draw_confusion

CAT, DOG = "\u732b", "\u72ac"


@pytest.fixture
def cat_font(tmp_path, monkeypatch):
    """An installed font that has one letter, a black square."""
    pen = TTGlyphPen(None)
    for move, point in zip(
        ("moveTo", "lineTo", "lineTo", "lineTo"), ((0, 0), (0, 800), (800, 800), (800, 0)), strict=True
    ):
        getattr(pen, move)(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord(CAT): "cat"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "cat": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "cat": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Only Cats", "styleName": "Regular", "psName": "OnlyCats"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "cats.ttf")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(tmp_path / "cats.ttf")
    return "Only Cats"


def pixels(path, name):
    draw_confusion(np.eye(2, dtype=int), [], [name, "b"], path, title="title")
    return np.asarray(Image.open(path).convert("L"), np.int32)


def test_an_installed_font_is_used_for_the_letters_that_the_own_one_lacks(tmp_path, cat_font, monkeypatch):
    figure = Figure()
    figure.text(0, 0, f"a {CAT}{DOG}")
    figure.add_subplot().set_yticks([0], ["b"])
    fonts.complete_fonts(figure)
    assert figure.texts[0].get_fontfamily() == ["sans-serif", cat_font]
    drawn = pixels(tmp_path / "a.png", CAT)
    monkeypatch.setattr(formats, "complete_fonts", lambda figure: None)
    assert (drawn != pixels(tmp_path / "a.png", CAT)).any()


def test_text_in_svg_has_these_letters_too(cat_font):
    figure = Figure()
    figure.text(0, 0, f"{CAT}{DOG}")
    assert 'id="OnlyCats-' in formats.svg_text(figure)


def test_letters_that_no_font_has_are_boxes_without_a_warning(tmp_path, capsys):
    pixels(tmp_path / "a.png", "\U0001f9ff\u0b95\U000e0041")
    assert capsys.readouterr().err == ""


def test_a_figure_whose_letters_are_there_keeps_its_font():
    figure = Figure()
    figure.text(0, 0, "caf\u00e9")
    fonts.complete_fonts(figure)
    assert figure.texts[0].get_fontfamily() == ["sans-serif"]
