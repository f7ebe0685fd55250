"""From ImageNet's three archives to trained networks, by the documented commands; the archives hold four classes."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from resnet_alexnet.data.images import geometry
from resnet_alexnet.data.measure import measure
from resnet_alexnet.data.sources import Crops, create_splits
from resnet_alexnet.data.statistics import load_statistics
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support.archives import WNIDS, write_archives

CHECKOUT = Path(__file__).parents[1]
THIN = ["--config.model.width=8", "--config.model.bn_group=8", "--config.optim.learning_rate=0.01"]
pytestmark = pytest.mark.slow


def run(*arguments):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
    environment = {**os.environ, "XLA_FLAGS": flags}
    result = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=CHECKOUT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def prepare(folder, *options):
    archives = write_archives(folder)
    run("resnet_alexnet.data.prepare", *archives.flags(), f"--output={folder / 'data'}", *options)
    return folder / "data"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("imagenet"), "--resize=256")


def train(recipe, data, workdir, *fields):
    return run(
        "resnet_alexnet.main",
        f"--config=configs/{recipe}",
        f"--workdir={workdir}",
        f"--config.dataset.data_dir={data}",
        "--config.batch_size=8",
        "--config.num_steps=4",  # more than one epoch of 24 photographs
        "--config.log.every_steps=1",
        "--config.eval.every_steps=4",
        "--config.eval.batch_size=8",
        "--config.checkpoint.every_steps=4",
        "--config.dataset.workers=2",
        *fields,
    )


@pytest.mark.parametrize(
    ("recipe", "fields"),
    [
        ("resnet18.py", THIN),
        ("alexnet.py", ["--config.preprocess.image_size=64"]),
        ("resnet18.py:torchvision", THIN),
    ],
)
def test_from_archives_to_a_trained_network(data, tmp_path, recipe, fields):
    output = train(recipe, data, tmp_path / "run", *fields)
    assert "images: 24 train, 8 validation" in output
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert lines[-1] == {"step": 4, "finished": True}
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3, 4]
    assert all(np.isfinite(line["train/loss"]) for line in lines if "train/loss" in line)
    (validated,) = [line for line in lines if "val/top1_error" in line]
    assert 0 <= validated["val/top1_error"] <= 100
    saved = list((tmp_path / "run" / "checkpoints" / "4").rglob("*"))
    assert any(str(WNIDS[0]) in path.read_text(errors="ignore") for path in saved if path.is_file())


def test_the_stored_statistics_are_those_of_the_view_for_testing(data):
    stored = load_statistics(data / "imagenet2012" / "5.1.0" / "statistics.npz")
    assert (stored.count, stored.pixel_mean.shape) == (24, (256, 256, 3))
    crop = partial(geometry.resize_center_crop, size=256, shorter_side=256, interpolation="bilinear")
    splits = create_splits("imagenet2012", data_dir=str(data), crops=Crops(256, crop, crop))
    assert splits.statistics is not None
    measured = measure(splits.train)
    # They are measured on the pixels that are stored, before JPEG loses some of them.
    np.testing.assert_allclose(stored.pixel_mean, measured.pixel_mean, atol=8)
    np.testing.assert_allclose(stored.channel_mean, measured.channel_mean, atol=0.5)
    np.testing.assert_allclose(stored.channel_std, measured.channel_std, rtol=0.02)


def test_raw_squares_train_alexnet_too(tmp_path):
    data = prepare(tmp_path, "--encoding=raw")
    output = train("alexnet.py", data, tmp_path / "run", "--config.num_steps=1", "--config.preprocess.image_size=64")
    assert "images: 24 train, 8 validation" in output
