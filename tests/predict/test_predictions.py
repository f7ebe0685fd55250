"""Answers in the formats that people and programs read."""

import csv
import io
import json

import pytest

from resnet_alexnet.predict.predictions import WRITERS, Prediction, write_csv, write_json, write_table

PREDICTIONS = [
    Prediction("a, b.jpg", (("n02123045", 0.75), ("n02690373", 0.125))),
    Prediction("bad.jpg", error="it is no image of a known format"),
    Prediction("[x].jpg", (("n01440764", 1.0),)),
]


def written(write):
    file = io.StringIO()
    write(iter(PREDICTIONS), file)
    return file.getvalue()


def test_json_is_an_object_a_line_with_ids_and_words():
    first, bad, last = map(json.loads, written(write_json).splitlines())
    assert first == {
        "photograph": "a, b.jpg",
        "predictions": [
            {"class": "n02123045", "name": "tabby", "probability": 0.75},
            {"class": "n02690373", "name": "airliner", "probability": 0.125},
        ],
    }
    assert bad == {"photograph": "bad.jpg", "error": "it is no image of a known format"}
    assert last["predictions"][0]["name"] == "tench"


def test_csv_comes_back_as_it_was():
    rows = list(csv.DictReader(io.StringIO(written(write_csv))))
    assert [(row["photograph"], row["rank"], row["name"], row["error"]) for row in rows] == [
        ("a, b.jpg", "1", "tabby", ""),
        ("a, b.jpg", "2", "airliner", ""),
        ("bad.jpg", "", "", "it is no image of a known format"),
        ("[x].jpg", "1", "tench", ""),
    ]
    assert float(rows[1]["probability"]) == 0.125


def test_the_table_names_each_photograph_once_and_takes_brackets_as_they_are():
    lines = written(write_table).splitlines()
    assert lines[0].split() == ["photograph", "class", "probability"]
    assert [line.split() for line in lines[1:]] == [
        ["a,", "b.jpg", "tabby", "75.0", "%"],
        ["airliner", "12.5", "%"],
        ["bad.jpg", "not", "classified:", "it", "is", "no", "image", "of", "a", "known", "format"],
        ["[x].jpg", "tench", "100.0", "%"],
    ]


def test_a_name_stays_on_its_line_of_the_table_and_steers_no_terminal():
    predictions = [
        Prediction("two\nlines\x1b[31m.jpg", (("n02123045", 1.0),)),
        Prediction("a\rb.jpg", error="the file is empty"),
    ]
    file = io.StringIO()
    write_table(predictions, file)
    found = [line.split("  ")[0] for line in file.getvalue().splitlines()[1:]]
    assert found == [
        r"two\nlines\x1b[31m.jpg",
        r"a\rb.jpg",
    ]
    file = io.StringIO()
    write_json(predictions, file)
    assert json.loads(file.getvalue().splitlines()[0])["photograph"] == "two\nlines\x1b[31m.jpg"


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_that_nobody_reads_any_more_is_the_callers_to_know(form):
    class Closed(io.StringIO):
        def write(self, text):
            if text:
                raise BrokenPipeError
            return 0

    with pytest.raises(BrokenPipeError):
        WRITERS[form](iter(PREDICTIONS), Closed())


def test_names_of_classes_steer_no_terminal_and_files_have_them_as_they_are(monkeypatch):
    evil = "\x1b]0;own\x07[red]\u202e"
    shown = r"\x1b]0;own\x07[red]\u202e"
    predictions = [Prediction("a.jpg", ((evil, 1.0),))]
    for is_terminal in (False, True):
        for write in WRITERS.values():
            file = io.StringIO()
            monkeypatch.setattr(file, "isatty", lambda is_terminal=is_terminal: is_terminal)
            write(predictions, file)
            if write is write_json:  # which escapes by itself
                found = json.loads(file.getvalue())["predictions"]
                assert found == [{"class": evil, "name": shown, "probability": 1.0}]
                assert file.getvalue().rstrip("\n").isprintable()
            elif write is write_table or is_terminal:
                assert shown in file.getvalue()
                assert "own\x07" not in file.getvalue()
            else:
                rows = list(csv.reader(io.StringIO(file.getvalue())))
                assert rows[1][2:4] == [evil, shown]
