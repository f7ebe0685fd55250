"""The examples of CONTRIBUTING.md run as they stand there: a network and a data set of one's own."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from resnet_alexnet.data.sources import create_splits
from resnet_alexnet.models import summary
from resnet_alexnet.predict import __main__ as predict
from resnet_alexnet.train.loop import train_and_evaluate
from resnet_alexnet.workdir.config import load_overridden

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LENET, SHAPES = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(module: str) -> list[str]:
    """The arguments of a command in CONTRIBUTING.md, as it stands there."""
    match = re.search(rf"^python -m {re.escape(module)} ((?:.*\\\n)*.*)$", TEXT, re.MULTILINE)
    assert match is not None
    return shlex.split(match[1].replace("\\\n", " "))


@pytest.mark.slow
def test_a_network_of_ones_own_is_summarized_trained_and_used(folder, capsys):
    assert len(LENET.splitlines()) <= 25
    (folder / "lenet.py").write_text(LENET, encoding="utf-8")
    summary.main(command("resnet_alexnet.models.summary"))
    assert re.search(r"conv1 +28 x 28 x 8 +208 +156,800", capsys.readouterr().out)
    config, workdir, *words = command("resnet_alexnet.main")
    words += [f"--config.dataset.{field}" for field in ("name=synthetic", "channels=1", "num_examples=200")]
    words += ["--config.preprocess.image_size=28", "--config.num_steps=20", "--config.eval.every_steps=20"]
    config = load_overridden(str(ROOT / config.removeprefix("--config=")), words)
    train_and_evaluate(config, folder / workdir.removeprefix("--workdir="))
    said = capsys.readouterr()
    assert "note: model.bn_group='sync', which the recipe sets for cifar_resnet8, is left out" in said.err
    assert "step 20/20" in said.out + said.err
    *options, photo = command("resnet_alexnet.predict")
    predict.main([*options, str(ROOT / photo), "--format=json"])
    assert re.search(r"class_\d", capsys.readouterr().out)


def test_a_data_set_of_ones_own_is_read(folder):
    (folder / "own_arrays.py").write_text(SHAPES, encoding="utf-8")
    arrays = {"images": np.zeros((6, 4, 4, 3), np.uint8), "labels": np.array([0, 1] * 3, np.int32)}
    arrays = {f"{split}_{name}": array for split in ("train", "test") for name, array in arrays.items()}
    np.savez(folder / "arrays.npz", **arrays)
    splits = create_splits("own_arrays.py:read", data_dir="arrays.npz", validation_fraction=0.4)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 2, 6)
    assert splits.train.classes == ("cat", "dog")
