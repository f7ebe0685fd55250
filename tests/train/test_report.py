"""What a run says of its data at the start and of its result at the end."""

import json

import numpy as np
import pytest

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.sources import Splits
from resnet_alexnet.train.report import chance_errors, describe_data, print_end
from resnet_alexnet.workdir.config import run_title
from tests.support import tiny


def source(*counts: int) -> ArraySource:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    classes = tuple(f"class_{number}" for number in range(len(counts)))
    return ArraySource(np.zeros((len(labels), 4, 4, 1), np.uint8), labels, classes)


def test_the_data_is_described_by_its_folder_its_classes_and_their_counts():
    splits = Splits(source(6, 3, 2), source(1, 1, 1), None, None)
    assert describe_data(splits, {"data_dir": "~/pets"}) == [
        "images: 11 train, 3 validation, in ~/pets",
        "3 classes (training images): class_0 (6), class_1 (3), class_2 (2)",
    ]
    many = Splits(source(*range(20, 40)), None, source(*[1] * 20), None)
    images, classes = describe_data(many, {"data_dir": ""})
    assert images == "images: 590 train, 20 test"
    assert classes.startswith("20 classes of 20 to 39 training images: class_0, class_1, ")
    assert classes.endswith(", class_11 and 8 more")


@pytest.mark.parametrize(("counts", "noticed"), [((10, 1), False), ((11, 1), True), ((5, 0), True)])
def test_an_imbalance_of_more_than_ten_to_one_is_noticed(counts, noticed):
    lines = describe_data(Splits(source(*counts), None, None, None), {"data_dir": ""})
    assert [line for line in lines if line.startswith("notice: ")] == lines[2:]
    assert bool(lines[2:]) == noticed
    if noticed:
        assert f"class_0 has {counts[0]} training images, class_1 {counts[1]}: " in lines[2]


def test_the_chance_error_is_that_of_the_most_frequent_class():
    splits = Splits(source(6, 3, 1), source(1, 1, 1, 1), None, None)
    assert chance_errors(splits) == pytest.approx({"train": 40.0, "validation": 75.0})


@pytest.mark.parametrize(
    ("name", "data_dir", "title"),
    [
        ("fashion_mnist", "/data/fashion", "cifar_resnet8 on fashion_mnist"),
        ("image_folder", "/data/pets/", "cifar_resnet8 on pets"),
        ("npz", "sets/digits.npz", "cifar_resnet8 on digits.npz"),
        ("/home_of/mine.py:read", "/data/x", "cifar_resnet8 on mine.py:read"),
    ],
)
def test_a_set_that_can_hold_anything_is_named_by_its_path(name, data_dir, title):
    assert run_title(tiny.config(dataset__name=name, dataset__data_dir=data_dir)) == title


def test_an_error_no_better_than_chance_says_so(tmp_path, monkeypatch, capsys):
    lines = [
        {"step": 4, "train/top1_error": 20.0},
        {"step": 4, "val/top1_error": 49.0},
        {"step": 4, "test/top1_error": 30.0},
        {"step": 4, "finished": True},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    chance = {"train": 50.0, "validation": 50.0, "test": 50.0}
    metadata = {"chance_error": chance, "num_images": dict.fromkeys(chance, 100), "config": {"batch_size": 25}}
    monkeypatch.setattr("resnet_alexnet.workdir.checkpoint.read_metadata", lambda _: metadata)
    print_end("net on pets", tmp_path)
    told = [line.split("  ") for line in capsys.readouterr().out.splitlines() if " error " in line]
    assert [line[-1] for line in told] == [
        "30.00 %",
        "49.00 % (best 49.00 %), no better than chance (50.00 %)",  # within two standard errors
        "20.00 %",
    ]


@pytest.mark.parametrize(("batch_size", "noticed"), [(10, True), (100, False)])
def test_the_chance_of_a_training_error_counts_the_samples_since_the_last_log(
    tmp_path, monkeypatch, capsys, batch_size, noticed
):
    """Over 20 samples two standard errors of 50 % are 22 points, over 200 they are 7; the images do not matter."""
    lines = [{"step": 4, "train/top1_error": 49.0}, {"step": 6, "train/top1_error": 40.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    metadata = {"chance_error": {"train": 50.0}, "num_images": {"train": 9}, "config": {"batch_size": batch_size}}
    monkeypatch.setattr("resnet_alexnet.workdir.checkpoint.read_metadata", lambda _: metadata)
    print_end("net on pets", tmp_path)
    assert ("no better than chance" in capsys.readouterr().out) == noticed


def test_the_commands_that_come_next_are_called_as_this_one_was(tmp_path, monkeypatch, capsys):
    from resnet_alexnet.cli.command import called_as

    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "val/top1_error": 9.0}\n{"step": 4, "finished": true}\n')
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    monkeypatch.setattr("resnet_alexnet.workdir.checkpoint.read_metadata", lambda _: {})
    monkeypatch.setattr("sys.argv", ["bin/resnet-alexnet", "train"])
    with called_as("resnet-alexnet train"):
        print_end("net on pets", tmp_path)
    monkeypatch.setattr("sys.argv", ["/x/resnet_alexnet/main.py"])
    print_end("net on pets", tmp_path)
    told = [line.split() for line in capsys.readouterr().out.splitlines() if f"--workdir={tmp_path}" in line]
    assert [words[:2] for words in told[:2]] == [["bin/resnet-alexnet", "predict"], ["bin/resnet-alexnet", "evaluate"]]
    assert [words[1:3] for words in told[2:]] == [["-m", f"resnet_alexnet.{name}"] for name in ("predict", "evaluate")]
    assert told[1][2:] == [f"--workdir={tmp_path}", "--split=validation", f"--output={tmp_path}/test"]


@pytest.mark.parametrize(
    ("measured", "split"), [("train", "--split=train"), ("val", "--split=validation"), ("test", "--output=")]
)
def test_the_next_evaluation_is_of_a_split_that_there_is(tmp_path, monkeypatch, capsys, measured, split):
    lines = f'{{"step": 4, "train/top1_error": 9.0}}\n{{"step": 4, "{measured}/top1_error": 9.0}}\n'
    (tmp_path / "metrics.jsonl").write_text(lines)
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    monkeypatch.setattr("resnet_alexnet.workdir.checkpoint.read_metadata", lambda _: {})
    print_end("net on pets", tmp_path)
    evaluate = capsys.readouterr().out.splitlines()[-1]
    assert evaluate.split()[-2 if measured != "test" else -1].startswith(split)
    assert ("--split" in evaluate) == (measured != "test")


def test_without_a_checkpoint_no_next_command_is_told(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "train/top1_error": 9.0}\n')
    print_end("net on pets", tmp_path)
    assert capsys.readouterr().out.splitlines()[-1] == "there is no checkpoint left to predict or evaluate with"
