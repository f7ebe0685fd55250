"""The numbers of runs, against files that are written by hand."""

import json

import pytest

from resnet_alexnet.study.metrics import METRICS
from resnet_alexnet.study.state import MeasuredRun

LINES = [
    {"step": 0, "start": 1},
    {"step": 2, "epoch": 0.5, "train/top1_error": 60.0, "images_per_second": 50.0, "seconds/steps": 2.0},
    {"step": 2, "epoch": 0.5, "val/top1_error": 55.0, "seconds/evaluation": 9.0},
    {"step": 4, "epoch": 1.0, "train/top1_error": 24.0, "images_per_second": 100.0, "seconds/steps": 1.0},
    {"step": 4, "epoch": 1.0, "val/top1_error": 25.5},
    {"step": 6, "epoch": 1.5, "train/top1_error": 20.0, "images_per_second": 90.0, "seconds/steps": 1.5},
    {"step": 6, "epoch": 1.5, "val/top1_error": 25.0, "test/top1_error": 26.0},
    {"step": 8, "epoch": 2.0, "train/top1_error": 16.0, "images_per_second": 10.0, "seconds/steps": 4.0},
    {"step": 8, "finished": True},
]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    for name, values in {
        "cost/cost.json": {
            "parameters": 1500,
            "multiply_adds": 2_500_000,
            "memory": 3_000_000,
            "images_per_second": 50.0,
            "batch_size": 16,
        },
        "exact/report.json": {"test": {"before": 26.0, "after": 24.5}, "validation": {"before": 1.0, "after": 2.0}},
    }.items():
        file = tmp_path / "measured" / name
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    return MeasuredRun(tmp_path, 8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test_error", 26.0),
        ("mean_train_error", 30.0),
        ("epochs_to_25", 1.0),
        ("seconds_to_25", 4.5),  # of steps, without evaluation
        ("training_seconds", 2.56),  # 8 steps of 16 images at the speed that was measured
        ("images_per_second", 50.0),
        ("exact_error", 24.5),
        ("parameters", 1.5),
        ("multiply_adds", 2.5),
        ("memory", 3.0),
    ],
)
def test_a_metric_is_read_from_the_files(run, name, value):
    assert METRICS[name].read(run) == pytest.approx(value)


def test_what_was_not_reached_or_not_measured_has_no_number(tmp_path):
    line = {"step": 8, "epoch": 2.0, "train/top1_error": 25.1, "val/top1_error": 25.1, "seconds/steps": 1.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    run = MeasuredRun(tmp_path, 8)
    for name in ("epochs_to_25", "seconds_to_25", "exact_error", "parameters", "images_per_second", "train_error"):
        assert METRICS[name].read(run) is None


def test_every_sentence_names_both_arms_and_the_difference():
    for metric in METRICS.values():
        said = metric.sentence.format(a="first", b="second", by="3 points")
        assert all(word in said for word in ("first", "second", "3 points"))
