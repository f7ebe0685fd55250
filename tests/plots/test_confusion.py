"""The picture of a confusion matrix."""

import numpy as np
import pytest
from PIL import Image

from resnet_alexnet.evaluate.report import confusions
from resnet_alexnet.plots import confusion
from resnet_alexnet.plots.confusion import draw_confusion


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws a matrix, and gives the figure."""
    figures = []
    monkeypatch.setattr(confusion, "write_png", lambda drawing, path: figures.append(drawing))

    def draw(matrix, classes):
        draw_confusion(matrix, confusions(matrix), classes, tmp_path / "confusion.png", title="a title")
        return figures[-1]

    return draw


def words(drawing):
    return [text.get_text() for text in [*drawing.texts, *(text for axes in drawing.axes for text in axes.texts)]]


def test_few_classes_are_written_in(drawn):
    drawing = drawn(
        np.array([[190, 9, 1], [0, 0, 0], [0, 5, 5]]), ["T-shirt/top", "a class with a rather long name", "$c$"]
    )
    assert {"95 %\n190", "4 %\n9", "<1 %\n1", "50 %\n5"} <= set(words(drawing))
    labels = [label.get_text() for label in drawing.axes[0].get_yticklabels()]
    assert labels == ["T-shirt/top", "a class with a rather l…", "$c$"]
    np.testing.assert_allclose(drawing.axes[0].images[0].get_array(), [[95, 4.5, 0.5], [0, 0, 0], [0, 50, 50]])


def test_of_many_classes_the_most_frequent_confusions_stand_beside_them(drawn):
    matrix = 10 * np.eye(50, dtype=int)
    matrix[3, 17], matrix[40, 2] = 7, 3
    drawing = drawn(matrix, [f"class {number}" for number in range(50)])
    (text,) = [text for text in words(drawing) if "most frequent" in text]
    assert text.splitlines()[2:] == [
        "7 of 17  class 3 classified as class 17",
        "3 of 13  class 40 classified as class 2",
    ]


def test_a_thousand_classes_lose_no_cell(tmp_path):
    rng = np.random.default_rng(0)
    matrix = 40 * np.eye(1000, dtype=int)
    rows, columns = rng.integers(0, 1000, (2, 300))
    matrix[rows, columns] += 1
    path = tmp_path / "confusion.png"
    draw_confusion(matrix, confusions(matrix), [f"class {number}" for number in range(1000)], path, title="a title")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))[60:1060, 80:1080]
    np.testing.assert_array_equal(np.flatnonzero(pixels[2:-2, 2:-2] < 250), np.flatnonzero(matrix[2:-2, 2:-2]))
    assert [file.name for file in tmp_path.iterdir()] == ["confusion.png"]
