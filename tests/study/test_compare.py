"""Runs side by side: what they have come to, how they differ, and whether they computed the same."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from configs import default
from resnet_alexnet import compare as command
from resnet_alexnet.errors import InputError
from resnet_alexnet.study import comparison
from resnet_alexnet.study.compare import Run, differing, first_difference, read_runs
from resnet_alexnet.workdir.config import to_json
from resnet_alexnet.workdir.lock import locked
from tests.support.processes import CHECKOUT

RESULTS = CHECKOUT / "docs" / "results"
ODD = "<b>&amp; $x_1$ \x1b[31m"  # a name that a page, a picture or a terminal could obey


def write(folder: Path, lines, *, finished=True, environment=None, **fields) -> Path:
    """A run folder of these lines; the fields of its config are those of groups, written group__field."""
    folder.mkdir(parents=True)
    config = default.get_config()
    values = {"num_steps": 20, "optim__learning_rate": 0.1, **fields}
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in values.items()})
    (folder / "config.json").write_text(json.dumps(to_json(config)))
    (folder / "environment.json").write_text(json.dumps(environment or {"devices": ["cpu", "cpu"], "git_commit": None}))
    ends = [{"step": 20, "finished": True}] if finished else []
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, *ends]))
    return folder


def lines(**changed):
    """The lines of a run of 20 steps; `changed` are fields of its last evaluation."""
    return [
        {"step": 0, "start": 1, "time": 50.0},
        {"step": 10, "train/loss": 2.0, "train/top1_error": 60.0, "images_per_second": 90.0, "seconds/steps": 8.0},
        {"step": 10, "val/top1_error": 40.0, "seconds/evaluation": 2.0},
        {"step": 20, "train/loss": 1.0, "train/top1_error": 50.0, "images_per_second": 110.0, "seconds/steps": 7.0},
        {"step": 20, "val/top1_error": 45.0, "test/top1_error": 44.0, "seconds/evaluation": 3.0, **changed},
    ]


def printed(capsys, *words):
    command.main([*map(str, words)])
    return capsys.readouterr().out


def test_what_a_run_has_come_to_and_how_runs_differ(tmp_path, capsys):
    one = write(tmp_path / "a" / "run", lines())
    other = write(tmp_path / "b" / "run", lines(), optim__learning_rate=0.2, environment={"devices": ["TPU v4"] * 8})
    output = printed(capsys, one, other)
    rows = [line.split() for line in output.splitlines()[1:3]]
    assert rows == [
        [str(n), f"{name}/run", "finished", "20", "45.00", "40.00", "44.00", "100", "75", "%"]
        for n, name in ((1, "a"), (2, "b"))
    ]
    assert "\n  optim.learning_rate: 0.1 (1), 0.2 (2)\n" in output
    assert "\n  devices: 2 x cpu (1), 8 x TPU v4 (2)\n" in output
    assert "seed" not in output
    assert "  1: goodput 75 % of 20 s: evaluation 25 %\n" in output
    assert "  the metrics of 1-2 are the same, to the last bit\n" in output


def test_each_kind_of_folder_gets_a_word(tmp_path, capsys):
    for name in ("empty", "logged", "other", "torn"):
        (tmp_path / name).mkdir()
    (tmp_path / "logged" / "log.txt").write_text("$ command\n")  # by a sweep, before the run started
    (tmp_path / "other" / "notes.txt").write_text("mine")
    (tmp_path / "other" / "log.txt").write_text("$ command\n")
    (tmp_path / "torn" / "config.json").write_bytes(b'{"num_steps": \xff')
    write(tmp_path / "begun", lines()[:1], finished=False)
    write(tmp_path / "diverged", [*lines(), {"step": 20, "diverged": True}], finished=False)
    write(tmp_path / "stuck", [*lines(), {"step": 20, "train/loss": 3.0, "stuck": True}], finished=False)
    write(tmp_path / "killed", lines(), finished=False)
    write(tmp_path / "stopped", [*lines(), {"step": 20, "train/loss": 3.0, "stopped": True}], finished=False)
    write(tmp_path / "extended", lines(), num_steps=90)
    write(tmp_path / "wrong", [{"step": "ten"}])
    write(tmp_path / "strange", lines(**{"val/top1_error": "high", "images_per_second": [1]}))
    write(tmp_path / "deep", lines())
    (tmp_path / "deep" / "environment.json").write_text('{"a":' * 100_000)
    folders = sorted(tmp_path.iterdir())
    with locked(write(tmp_path / "going_on", lines(), finished=False)):
        runs = {run.name: run for run in read_runs([*map(str, folders), str(tmp_path / "going_on")])}
        assert "notes" in printed(capsys, *folders, tmp_path / "going_on")
    assert {name: run.state for name, run in runs.items()} == {
        "empty": "empty",
        "logged": "empty",
        "other": "no run",
        "begun": "empty",
        "torn": "broken",
        "killed": "unfinished",
        "stopped": "stopped",
        "diverged": "diverged",
        "stuck": "stuck",
        "extended": "unfinished",
        "wrong": "broken",
        "strange": "finished",
        "deep": "broken",
        "going_on": "running",
    }
    assert runs["logged"].note == "no run has begun in it"
    assert runs["diverged"].note == "at step 20"
    assert runs["deep"].steps == 20, "what can be read of a broken run is"
    for output_format in ("csv", "json"):
        assert "going_on" in printed(capsys, *folders, tmp_path / "going_on", f"--format={output_format}")
    with pytest.raises(InputError, match="nowhere is not a folder"):
        command.main(["nowhere"])


def test_what_is_not_a_number_is_told_from_what_is_not_measured(tmp_path, capsys):
    diverged = write(tmp_path / "diverged", lines(**{"val/top1_error": None}))
    untested = write(tmp_path / "untested", [{"step": 20, "val/top1_error": 50.0}])
    output = printed(capsys, diverged, untested).splitlines()
    assert output[1].split()[4:7] == ["nan", "40.00", "44.00"]
    assert output[2].split()[4:] == ["50.00", "50.00", "-", "-", "-"]
    rows = list(csv.DictReader(io.StringIO(printed(capsys, diverged, untested, "--format=csv"))))
    assert (rows[0]["val_error"], rows[1]["test_error"]) == ("nan", "")
    one, other = json.loads(printed(capsys, diverged, untested, "--format=json"))["runs"]
    assert (one["val_error"], one["not_numbers"]) == (None, ["val_error"])
    assert (other["test_error"], "not_numbers" in other) == (None, False)
    assert other["val_error"] == 50.0


def numbers(capsys, *words):
    """The answer of --numbers, and its exit code."""
    try:
        command.main([*map(str, words), "--numbers"])
        code = 0
    except SystemExit as stop:
        code = stop.code
    return capsys.readouterr().out, code


def test_the_same_numbers_exit_with_0_and_others_with_1(tmp_path, capsys):
    one = write(tmp_path / "one", lines())
    times = [{**line, "time": 7.0, "images_per_second": 1.0, "seconds/save": 4.0} for line in lines()]
    restarted = [*times[:3], {"step": 10, "start": 2, "time": 70.0}, *times[3:]]
    same = write(tmp_path / "same", restarted, seed=3)
    assert numbers(capsys, one, same) == ("one and same: the same numbers\n", 0)
    last_bit = write(tmp_path / "last_bit", lines(**{"val/top1_error": math.nextafter(45.0, 99)}))
    answer = "line 4 (step 20) differs: val/top1_error is 45.0 and 45.00000000000001\n"
    assert numbers(capsys, one, same, last_bit) == (
        f"one and same: the same numbers\none and last_bit: {answer}",
        1,
    )
    shorter = write(tmp_path / "shorter", lines()[:3], finished=False)
    answer = "the first 2 lines are equal, but only one has a line 3 (step 20)\n"
    assert numbers(capsys, shorter, one) == (f"shorter and one: {answer}", 1)
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(InputError, match="broken has no metrics to compare: empty, an empty folder"):
        command.main([str(one), str(broken), "--numbers"])
    (one / "environment.json").write_text("{")
    assert numbers(capsys, one, same) == ("one and same: the same numbers\n", 0)


def test_runs_that_have_only_begun_cannot_be_compared(tmp_path, capsys):
    begun = [write(tmp_path / name, lines()[:1], finished=False) for name in ("one", "other")]
    with pytest.raises(InputError, match="one has no metrics to compare: empty, no metrics yet"):
        command.main([*map(str, begun), "--numbers"])
    with locked(begun[0]), pytest.raises(InputError, match="one has no metrics to compare: running, in process"):
        command.main([*map(str, begun), "--numbers"])
    assert "the same, to the last bit" not in printed(capsys, *begun)


def test_a_run_from_before_a_field_existed_has_its_default(tmp_path, capsys):
    one, older = (write(tmp_path / name, lines()) for name in ("one", "older"))
    config = json.loads((older / "config.json").read_text())
    del config["guard"], config["optim"]["ema_decay"]
    (older / "config.json").write_text(json.dumps(config))
    assert "\nfields of the config that differ: none\n" in printed(capsys, one, older)


def test_a_number_that_is_missing_differs_from_one_that_is_not_a_number():
    one, other, third = (
        Run("r", "", lines=[line]) for line in ({"step": 1, "a": None}, {"step": 1}, {"step": 1, "a": None})
    )
    assert first_difference(one, other) == "line 1 (step 1) differs: a is nan and missing"
    assert first_difference(one, third) is None


def test_fields_that_differ_are_by_index_and_a_run_without_a_config_has_none():
    found = differing([{"a": 1, "b": [1]}, {}, {"a": 1.0, "b": [2], "c": None}])
    assert found == {"a": {0: 1, 2: 1.0}, "b": {0: [1], 2: [2]}}
    assert comparison.group({0: "x", 1: None, 2: "x", 3: "x", 5: ""}) == {"x": "1, 3-4", "unset": "2", '""': "6"}


def test_twenty_runs_fit_eighty_columns_and_can_be_told_apart(tmp_path, capsys):
    folders = [
        write(
            tmp_path / f"learning_rate={rate},weight_decay=0.0001,seed={seed}",
            lines(),
            seed=seed,
            optim__momentum=rate,
        )
        for rate in (0.1, 0.2, 0.4, 0.8)
        for seed in range(5)
    ]
    output = printed(capsys, *folders).splitlines()
    assert max(map(len, output)) <= 80
    names = output.index("names")
    assert output[names + 1 : names + 21] == [f"  {i}: {folder.name}" for i, folder in enumerate(folders, start=1)]
    assert "  optim.momentum: 0.1 (1-5), 0.2 (6-10), 0.4 (11-15), 0.8 (16-20)" in output


def test_names_are_the_ends_that_tell_folders_apart(tmp_path):
    folders = [str(write(tmp_path / a / b, lines())) for a, b in (("x", "run"), ("y", "run"), ("y", "other"))]
    assert [run.name for run in read_runs(folders[:2])] == ["x/run", "y/run"]
    assert [run.name for run in read_runs(folders[1:])] == ["run", "other"]
    assert [run.name for run in read_runs([folders[0]] * 2)] == ["run (1)", "run (2)"]


class Page(HTMLParser):
    """The tags, the addresses and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value[:1] != "#"]

    def handle_data(self, data):
        self.text += data


def test_a_page_has_the_tables_and_the_picture_and_loads_nothing(tmp_path, capsys):
    odd = write(tmp_path / ODD, lines(), dataset__name="<script>alert(1)</script>")
    plain = write(tmp_path / "plain", lines(**{"val/top1_error": None}))
    output = tmp_path / "page.html"
    command.main([str(odd), str(plain), f"--output={output}"])
    assert "\x1b" not in "".join(capsys.readouterr())
    page = Page(output.read_text())
    assert page.links == []
    assert not {"script", "b", "img", "link", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 1
    assert {"table", "th", "td", "h1", "h2", "title"} <= set(page.tags)
    assert "<script>alert(1)</script>" in page.text
    assert ODD.partition(" \x1b")[0] in page.text
    assert "url(http" not in output.read_text()
    before = output.read_bytes()
    command.main([str(odd), str(plain), f"--output={output}"])
    assert output.read_bytes() == before


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_picture_is_written_for_any_number_of_runs(tmp_path, capsys, count):
    folders = [write(tmp_path / f"$run_{number}", lines()) for number in range(count)]
    output = tmp_path / "curves.png"
    command.main([*map(str, folders), f"--output={output}"])
    assert output.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_without_curves_nothing_is_drawn_and_bad_flags_are_named(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing to draw"):
        command.main([str(tmp_path / "empty"), f"--output={tmp_path / 'x.png'}"])
    for words, message in (
        ([], "RUN is missing"),
        ([str(tmp_path), "--numbers"], "RUN is missing"),
        ([str(tmp_path), "--output=x.pdf"], r"x\.pdf \(allowed: a file name that ends in \.png or \.html\)"),
        ([str(tmp_path)] * 2 + ["--numbers", "--format=csv"], "leave --output and --format out"),
        ([str(tmp_path)] * 2 + ["--numbers", "--format=table"], "leave --output and --format out"),
    ):
        with pytest.raises(InputError, match=message):
            command.main(words)
    assert not (tmp_path / "x.png").exists()


def test_it_imports_no_jax_and_compares_our_own_results(tmp_path):
    copy = shutil.copytree(RESULTS / "binary", tmp_path / "copy")
    run = "import runpy, sys\nrunpy.run_module('resnet_alexnet.compare', run_name='__main__')"
    witness = f"import atexit, sys\natexit.register(lambda: print('jax' in sys.modules))\n{run}"
    for words, code in (([copy], 0), ([RESULTS / "quickstart"], 1)):
        called = [sys.executable, "-c", witness, str(RESULTS / "binary"), *map(str, words), "--numbers"]
        result = subprocess.run(called, cwd=CHECKOUT, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (code, "")
        assert result.stdout.endswith("\nFalse\n")
        assert re.match(r"binary and (copy: the same numbers|quickstart: line 1 \(step 14\) differs: )", result.stdout)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a", "b"], ["a", "b"]),
        (["learning_rate=0.1,batch_size=8,seed=0"], ["lear…,seed=0"]),
        ([f"learning_rate={rate},batch_size=8,seed=0" for rate in (0.1, 0.2)], ["lear…ate=0.1", "lear…ate=0.2"]),
        ([f"{folder}/seed=0,decay=1" for folder in ("one", "two")], ["one", "two"]),
        ([f"the_same_beginning{x}-the_same_end" for x in "ab"], ["…a-the_same_", "…b-the_same_"]),
        (["a/b/c/d/e/f/g/h", "h/g/f/e/d/c/b/a"], ["a/b/…e/f/g/h", "h/g/…d/c/b/a"]),
    ],
)
def test_short_names_tell_runs_apart(names, short):
    assert comparison._short_names(names, 12) == short
