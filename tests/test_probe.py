"""The command that probes the features of each stage."""

import json

import numpy as np
import pytest

from resnet_alexnet import probe
from resnet_alexnet.errors import InputError
from resnet_alexnet.features import __main__ as features
from resnet_alexnet.features import probes
from resnet_alexnet.features.probes import Examples
from resnet_alexnet.features.probes import probe as probe_examples
from tests.support import tiny
from tests.support.runs import write_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("probe") / "run", tiny.config())


def test_the_accuracies_are_those_of_the_features_of_each_split(workdir, tmp_path, capsys):
    probe.main([f"--workdir={workdir}", f"--output={tmp_path / 'p.json'}", "--neighbors=7"])
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "p.json").read_text())
    settings = {"network": "cifar_resnet8", "step": "last", "dataset": "synthetic", "split": "test", "seed": 0}
    assert {name: result[name] for name in settings} == settings
    assert result["images"] == {"train": 180, "validation": 20, "test": 40}
    assert result["neighbors"] == 7
    assert [stage["stage"] for stage in result["stages"]] == ["stem", "stages.0", "stages.1", "stages.2"]
    assert [stage["features"] for stage in result["stages"]] == [16, 16, 32, 64]
    parts = []
    for split in ("train", "validation", "test"):
        output = tmp_path / f"{split}.npz"
        features.main([f"--workdir={workdir}", f"--split={split}", f"--output={output}"])
        with np.load(output) as arrays:
            parts.append(Examples(arrays["features"], arrays["labels"]))
    expected = probe_examples(*parts, num_classes=10, k=7)
    last = result["stages"][-1]
    assert last == {"stage": "stages.2", "layer": "head:input", **expected}
    line = f"linear {last['linear']['accuracy']:.2f} %, neighbors {last['knn']['accuracy']:.2f} %"
    assert f"  stages.2  {line}\n" in printed


def test_the_validation_split_and_fewer_training_images(workdir, tmp_path, monkeypatch):
    find_all = probes.find_stages
    monkeypatch.setattr(probes, "find_stages", lambda network: {"stem": find_all(network)["stem"]})  # is enough
    flags = ["--split=validation", "--images=50", "--seed=2"]
    probe.main([f"--workdir={workdir}", f"--output={tmp_path / 'p.json'}", *flags])
    result = json.loads((tmp_path / "p.json").read_text())
    assert result["images"] == {"train": 50, "validation": 20}
    (stage,) = result["stages"]
    assert stage["linear"]["accuracy"] == stage["linear"]["validation_accuracy"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--split=train"], "--split=train: the probes learn from that split .allowed: test, validation"),
        (["--config.dataset.validation_fraction=0"], "the split of synthetic is 'validation'"),
        (["--neighbors=0"], "--neighbors=0 .allowed: a whole number from 1"),
        (["--step=7"], "no checkpoint 7"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(workdir, tmp_path, flags, message):
    with pytest.raises(InputError, match=message) as error:
        probe.main([f"--workdir={workdir}", f"--output={tmp_path / 'p.json'}", *flags])
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
