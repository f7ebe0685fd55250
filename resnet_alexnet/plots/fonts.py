"""Fonts for class names in any script: those that matplotlib's own font lacks."""

from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

_UNSUITABLE = ("Emoji", "Color", "LastResort", "Last Resort")  # pictures of fixed sizes, and boxes for all letters


def complete_fonts(figure: Figure) -> None:
    """Lets each text of a figure fall back on installed fonts for the letters that its own font lacks.

    A letter that no font has is drawn as a box.
    """
    ticks = [label for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    texts = {*ticks, *(text for text in figure.findobj(Text) if isinstance(text, Text))}
    letters = {letter for text in texts for letter in text.get_text() if not letter.isspace()}
    missing = {ord(letter) for letter in letters} - _letters(findfont(FontProperties()))
    if missing:
        fallback = list(_fallback(missing))
        for text in texts:
            text.set_fontfamily([*FontProperties().get_family(), *fallback])


def _fallback(missing: set[int]) -> Iterator[str]:
    """The names of installed fonts that have the letters, as few as it takes, if each font takes all that it can."""
    upright = (font for font in fontManager.ttflist if font.style == "normal" and font.weight in (400, "normal"))
    paths = {font.name: font.fname for font in sorted(upright, key=lambda font: font.name)}
    found = {
        name: there
        for name, path in paths.items()
        if not any(word in name for word in _UNSUITABLE)
        if (there := missing & _letters(path))
    }
    while found and missing:
        best = max(found, key=lambda name: len(found[name] & missing))
        if not found[best] & missing:
            return
        missing = missing - found.pop(best)
        yield best


def _letters(path: str) -> set[int]:
    """The letters of a font, as numbers; none of a file that cannot be read."""
    try:
        return set(get_font(path).get_charmap())
    except (OSError, RuntimeError):  # a font that was removed, or of fixed sizes
        return set()
