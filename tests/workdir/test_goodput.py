"""The account of a run's time: every second is in exactly one line, whatever is removed when the run resumes."""

import pytest

from resnet_alexnet.workdir.goodput import Goodput, computed, read_goodput, seconds_fields, start_line
from resnet_alexnet.workdir.metrics_log import MetricsLog, read_metrics

LINES = [
    {"step": 0, "start": 1, "time": 100.0},
    {"step": 10, "train/loss": 2.0, "time": 120.0, "seconds/start": 6.0, "seconds/compile": 4.0, "seconds/steps": 10.0},
    {"step": 10, "val/loss": 2.0, "time": 122.0, "seconds/evaluation": 1.5, "seconds/save": 0.5},
    {"step": 20, "train/loss": 1.0, "time": 133.0, "seconds/steps": 9.0, "seconds/input_wait": 2.0},
]


def test_what_came_after_the_checkpoint_is_lost_and_the_rest_is_kept():
    line = start_line(10, LINES, LINES[3:], began=160.0, alive=140.0)
    assert line == {"step": 10, "start": 2, "time": 160.0, "seconds/lost": 11.0 + 7.0, "seconds/down": 20.0}
    goodput = read_goodput([*LINES[:3], line])
    assert goodput is not None
    assert sum(goodput.seconds.values()) == 160.0 - 100.0
    assert (goodput.total, goodput.percent, goodput.starts) == (40.0, 25.0, 2)
    expected = "25 % of 40 s: lost to restarts 45 %, start 15 %, compilation 10 %, evaluation 4 %, saving 1 %"
    assert str(goodput) == f"{expected}; 2 starts, 20 s down between them"


def test_without_a_checkpoint_all_steps_are_lost_but_not_the_start_and_the_compilation():
    line = start_line(0, LINES, LINES, began=160.0, alive=0.0)
    assert line["seconds/lost"] == 10 + 1.5 + 0.5 + 11
    assert (line["seconds/start"], line["seconds/compile"], line["seconds/down"]) == (6.0, 4.0, 27.0)
    again = start_line(0, [line], [line], began=170.0, alive=168.0)  # killed before its first line
    assert (again["start"], again["seconds/lost"], again["seconds/down"]) == (3, 23.0 + 8.0, 27.0 + 2.0)
    goodput = read_goodput([again])
    assert goodput is not None
    assert sum(goodput.seconds.values()) == 170.0 - 100.0
    assert goodput.percent == 0


@pytest.mark.parametrize("mark", ["finished", "stopped", "diverged", "stuck"])
def test_a_run_that_says_that_it_ended_lost_nothing(mark):
    last = {"step": 24, "time": 137.0, "seconds/steps": 4.0}
    ends = [last, {"step": 24, "finished": True}] if mark == "finished" else [{**last, mark: True}]
    removed = ends[-1:]
    line = start_line(24, [*LINES, *ends], removed, began=200.0, alive=999.0)
    assert "seconds/lost" not in line
    assert line["seconds/down"] == 63.0
    goodput = read_goodput([*LINES, *ends[:-1], line])
    assert goodput is not None
    assert goodput.seconds["steps"] == 23.0
    assert sum(goodput.seconds.values()) == 100.0


@pytest.mark.parametrize(("alive", "lost"), [(50.0, 0.0), (134.0, 1.0), (10_000.0, 17.0)])
def test_a_time_of_modification_that_cannot_be_is_not_believed(alive, lost):
    line = start_line(20, LINES, [], began=150.0, alive=alive)
    assert line.get("seconds/lost", 0.0) == lost
    assert line.get("seconds/down", 0.0) == 17.0 - lost


def test_a_run_from_before_there_were_times_has_none():
    old = [{"step": 10, "train/loss": 2.0}]
    assert read_goodput([]) is None
    assert read_goodput(old) is None
    line = start_line(10, old, [], began=150.0, alive=140.0)
    assert line == {"step": 10, "start": 1, "time": 150.0}
    assert read_goodput([*old, line]) is None
    assert read_goodput([line]) is None  # nothing is known yet
    assert str(Goodput({"steps": 0.0}, 1)) == "0.0 % of 0 s"


def test_fields_are_left_out_where_they_are_zero_and_keep_the_order_of_the_parts():
    assert list(seconds_fields({"save": 1.23456, "other": 0.0001, "steps": 2.0})) == ["seconds/steps", "seconds/save"]


def test_what_is_computed_is_what_is_neither_a_start_nor_a_time_nor_a_rate():
    line = {"step": 3, "images_per_second": 9.0, "input_wait_percent": 1.0, "step_images_per_second": 2.0, **LINES[1]}
    assert computed([LINES[0], line]) == [{"step": 10, "train/loss": 2.0}]


def test_the_log_keeps_the_account_over_starts(tmp_path):
    def begin(step, began):
        return MetricsLog(tmp_path, start_step=step, began=began)

    with begin(0, 100.0) as log:
        for line in LINES[1:]:
            log.write(line["step"], {name: value for name, value in line.items() if name != "step"})
    with begin(10, 4e9):
        pass
    first, *kept, second = read_metrics(tmp_path / "metrics.jsonl")
    assert first == LINES[0]
    assert kept == LINES[1:3]
    assert (second["step"], second["start"], second["time"]) == (10, 2, 4e9)
    goodput = read_goodput([first, *kept, second])
    assert goodput is not None
    assert sum(goodput.seconds.values()) == pytest.approx(4e9 - 100.0)
    with begin(0, 4e9 + 5):
        pass
    (only,) = read_metrics(tmp_path / "metrics.jsonl")
    assert only["start"] == 3
    goodput = read_goodput([only])
    assert goodput is not None
    assert sum(goodput.seconds.values()) == pytest.approx(4e9 + 5 - 100.0)


def test_a_start_says_how_many_steps_the_run_is_to_do(tmp_path):
    for step, num_steps in ((0, 10), (10, 20)):
        with MetricsLog(tmp_path, start_step=step, began=100.0, config={"num_steps": num_steps}) as log:
            log.write(step + 10, {})
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["num_steps"] for line in lines if "start" in line] == [10, 20]


def test_of_starts_only_whole_numbers_count():
    goodput = read_goodput([{**LINES[0], "start": "y"}, *LINES[1:]])
    assert goodput is not None
    assert goodput.starts == 0
    assert start_line(10, [{"step": 0, "start": None}], [], began=1.0, alive=0.0)["start"] == 1
