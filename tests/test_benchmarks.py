"""The benchmarks run from end to end on a few small photographs, without the peers; nothing is asked of the times."""

import itertools
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.photo_sets import write_folder

ROOT = Path(__file__).parents[1]
INPUT = ROOT / "benchmarks" / "input.py"
SMALL = ("--size=16", "--batch_size=4", "--images=8", "--rounds=1")


@pytest.fixture
def sides(monkeypatch):
    """Lets the benchmarks' modules be imported as they import one another."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def run(*arguments: object) -> subprocess.CompletedProcess:
    # The machine's own devices instead of conftest's eight.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return subprocess.run(
        [sys.executable, INPUT, *map(str, arguments)], env=environment, capture_output=True, text=True
    )


def parse_result(result: subprocess.CompletedProcess) -> dict:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def check_lines(results: dict, names: list[str]) -> None:
    assert [line["name"] for line in results["lines"]] == names
    for line in results["lines"]:
        throughput = line["images_per_second"]
        assert 0 < throughput["min"] <= throughput["median"] <= throughput["max"]


def test_photographs_on_one_core(tmp_path):
    photos = write_folder(tmp_path / "photos", per_class=3)
    result = run(f"--photos={photos}", "--parts=core", f"--results={tmp_path / 'results.json'}", *SMALL)
    results = parse_result(result)
    names = [f"ours, {line}" for line in ("bilinear", "area", "bicubic", "decoding alone", "raw cache")]
    check_lines(results, names)
    assert results["photos"]["count"] == 9
    assert {"ours", "peer", "ratio", "hardware"} <= results.keys()
    assert results["n"] == 1
    assert results["versions"]["simplejpeg"]
    assert [row["name"] for row in results["comparisons"]] == [
        "a core, all for decoding alone",
        "a core, raw cache for JPEG",
    ]
    assert json.loads((tmp_path / "results.json").read_text()) == results
    left_out = " ".join(result.stderr.split())
    assert "--torch_python" in left_out
    assert "--tf_python" in left_out


@pytest.mark.nightly
def test_loaders_loops_and_memory(tmp_path):
    photos = tmp_path / "photos.zip"
    with zipfile.ZipFile(photos, "w") as archive:
        for path in write_folder(tmp_path / "photos").rglob("*.jpg"):
            archive.write(path)
    results = parse_result(run(f"--photos={photos}", "--parts=loaders,loop,memory", *SMALL))
    loops = [f"{kind}, step {factor}x" for factor in ("0.8", "1", "1.25") for kind in ("step", "loop")]
    loaders = [f"ours, {number}" for number in ("1 thread", "1 worker", "2 threads", "2 workers")]
    real = [f"{kind}, real step" for kind in ("input alone", "step", "loop")]
    check_lines(results, [*loaders, "2 processes apart", "input alone", *loops, *real])
    assert sum(row["goal"] == 0.97 for row in results["comparisons"]) == 4
    (memory,) = results["memory"]
    assert memory["megabytes_most"] > memory["megabytes_of_largest_worker"] > 0


@pytest.mark.nightly
def test_our_forms_beside_the_plain_ones(tmp_path):
    results = parse_result(run(f"--photos={write_folder(tmp_path / 'photos')}", "--parts=forms", *SMALL))
    names = ["rows down to the crop", "whole photographs", "our processes, 2", "Grain's processes, 2"]
    check_lines(results, names)
    assert [row["name"] for row in results["comparisons"]] == [
        "a core, partial decoding for whole",
        "our processes for Grain's, by CPU time",
        "our processes for Grain's, by the clock",
    ]
    ours, grains = results["lifetimes"]
    assert ours["megabytes"]["median"] > ours["megabytes_of_largest_worker"]["median"] > 0
    assert ours["processes_left"]["max"] == ours["shared_memory_left"]["max"] == 0
    assert grains["processes_left"]["min"] >= 8  # or Grain has learned to end with the run, and docs/input.md is old


@pytest.mark.parametrize("name", ["input", "input_forms"])
def test_the_tables_are_those_of_the_record(tmp_path, name):
    text = (ROOT / "docs" / "input.md").read_text(encoding="utf-8")
    copy = tmp_path / "input.md"
    row = {"input": "| ours, bicubic |", "input_forms": "| rows down to the crop |"}[name]
    copy.write_text(text.replace(row, "| old |"), encoding="utf-8")
    assert copy.read_text(encoding="utf-8") != text
    result = run(f"--results={ROOT / 'docs' / 'results' / name}.json", f"--markdown={copy}")
    assert result.returncode == 0, result.stderr
    assert copy.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--photos is missing"),
        (["--photos=nowhere"], "--photos=nowhere is neither a folder nor a zip archive"),
        (["--photos={folder}"], "has 0 JPEG photographs, fewer than --batch_size=64"),
        (["--photos={folder}", "--part=core"], "unknown flag --part"),
        (["--photos={folder}", "--parts=cores"], "core"),
        (["--photos={folder}", "--rounds=0"], "--rounds=0 (allowed: a whole number from 1 to"),
        (["--photos={folder}", "--images=100"], "--images=100 is not a multiple of --batch_size=64"),
        (["--photos={folder}", "--tf_python=nowhere"], "--tf_python=nowhere is not a file"),
        (["--markdown=nowhere.md", "--results=nowhere.json"], "--results=nowhere.json is not a result"),
    ],
)
def test_bad_input_is_one_line(tmp_path, words, said):
    result = run(*(word.format(folder=tmp_path) for word in words))
    assert result.returncode == 2
    *_, line = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_a_jpeg_is_reported(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not one")
    result = run(f"--photos={tmp_path}", *SMALL, "--batch_size=1")
    assert result.returncode == 2
    assert "a.jpg is not a JPEG" in result.stderr


def test_help():
    result = run("--help")
    assert result.returncode == 0
    assert result.stdout.startswith("usage: python benchmarks/input.py")


def test_a_comparison_takes_its_ratio_round_by_round_with_the_slower_of_the_peers(sides):
    from rounds import Comparison, Line, Measured, Turn

    def measured(name: str, *throughputs: float) -> Measured:
        return Measured(Line(name, "", "", {}, ()), [Turn(value, 10 * value, 0.0) for value in throughputs], {})

    found = {
        "ours": measured("ours", 2.0, 30.0, 6.0),
        "a": measured("a", 1.0, 10.0, 4.0),
        "b": measured("b", 5.0, 20.0, 2.0),
    }
    row = Comparison("x", "ours", ("a", "b"), times=2, goal=1.5).of(found)
    assert row is not None
    assert row["ratio"] == {"median": 1.5, "min": 1.0, "max": 1.5}
    assert (row["ours"], row["peer"], row["met"]) == (6.0, 4.0, True)
    row = Comparison("x", "ours", ("a",), goal=2.5, by_cpu=True).of(found)
    assert row is not None
    assert (row["ours"], row["peer"], row["met"]) == (60.0, 40.0, False)
    assert Comparison("x", "ours", ("c",)).of(found) is None


def test_a_turn_that_others_disturbed_is_repeated_while_there_is_time(sides, monkeypatch):
    import rounds

    monkeypatch.setattr(rounds, "CHECK_SECONDS", 0)
    monkeypatch.setattr(rounds.Machine, "busy_without", lambda machine, seconds: 0.0)

    class Side:
        def __init__(self, *others: float):
            self.turns = [rounds.Turn(1.0, 1.0, share) for share in others]

        def run(self, images: int) -> rounds.Turn:
            return self.turns.pop(0)

    assert rounds.Quiet(100).turn(Side(0.5, 0.2, 0.01, 0.0), 1).others == 0.01
    assert rounds.Quiet(0).turn(Side(0.5, 0.0), 1).others == 0.5


def test_a_side_that_fails_is_an_error_with_its_last_line(sides):
    from rounds import Line, Quiet, interleave

    from resnet_alexnet.errors import InputError

    line = Line("lost", "input_ours.py", sys.executable, {"kind": "core"}, (0,))
    with pytest.raises(InputError, match=r"lost ended with code 1: TypeError: create\(\) missing"):
        interleave([line], images=1, rounds=1, quiet=Quiet(0))


def test_the_stand_in_takes_one_step_after_the_other(sides):
    from input_loop import stand_in

    step = stand_in(1000.0)
    first, second, third = (step({}) for _ in range(3))
    assert second.at - first.at == pytest.approx(1000)
    assert third.at - second.at == pytest.approx(1000)


def test_the_loop_times_from_the_end_of_a_step_to_the_end_of_another(sides, monkeypatch):
    import input_loop

    monkeypatch.setattr(input_loop.time, "monotonic", itertools.count().__next__)
    steps = iter(range(100))

    class Over:
        def block_until_ready(self) -> None:
            next(steps)

    batches = ((number, {}) for number in itertools.count())
    loop = input_loop.loop(batches, None, 4)
    assert loop(12) == 3  # seconds of a clock that ticks when it is read: once for each batch
    assert next(batches)[0] == input_loop.LEAD_IN + 3
    input_loop.loop(batches, lambda batch: Over(), 4)(12)
    assert next(steps) == input_loop.LEAD_IN + 3


@pytest.mark.slow
def test_the_bytes_between_the_towers_are_those_of_the_document():
    command = [sys.executable, ROOT / "benchmarks" / "towers.py", "--devices=4", "--batch_size=256"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    sent = parse_result(result)["sent_bytes"]
    maps = {"conv3": 13 * 13 * 128, "fc6": 6 * 6 * 128, "fc7": 2048, "fc8": 2048}  # [K12] figure 2, of the other tower
    forward = {f"{layer} forward": 4 * 128 * size for layer, size in maps.items()}
    backward = {f"{layer} backward": 4 * 128 * size for layer, size in maps.items() if layer != "fc8"}
    assert {key: value for key, value in sent.items() if key != "gradients backward"} == {**forward, **backward}
    held = (60_965_224 - 4_097_000) // 2 + 4_097_000  # parameters: half of all but fc8's
    assert 4 * held < sent["gradients backward"] < 4 * held + 40  # with the loss and the metrics
    table = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert "\n".join(table) in (ROOT / "docs" / "towers.md").read_text()
    for line in table[2:]:
        compiled, computed = line.split("|")[3:5]
        assert compiled == computed
