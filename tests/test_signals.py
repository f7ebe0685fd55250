"""The command that measures the signals in a network."""

import json

import numpy as np
import pytest

from resnet_alexnet import pretrained, signals
from resnet_alexnet.errors import InputError
from resnet_alexnet.workdir import checkpoint
from tests.support import tiny
from tests.support.runs import write_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of one step; groups of two images make its statistics the same on any number of devices."""
    return write_run(tmp_path_factory.mktemp("signals") / "run", tiny.config(model__bn_group=2), steps=1)


def measure(workdir, output, *flags):
    signals.main([f"--workdir={workdir}", f"--output={output}", "--images=15", *flags])
    return json.loads(output.read_text())


@pytest.fixture(scope="module")
def measured(workdir):
    return measure(workdir, workdir.parent / "s.json")


def test_the_network_before_training_and_every_checkpoint_are_measured(workdir, measured):
    result = measured
    settings = {"network": "cifar_resnet8", "dataset": "synthetic", "split": "test", "images": 15, "batch_size": 16}
    assert {name: result[name] for name in settings} == settings
    before, after = result["steps"]
    assert (before["step"], after["step"]) == (0, 1)
    assert [layer["index"] for layer in after["layers"]] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert after["layers"][1]["layer"] == "stages.0.0.conv1.conv"
    assert after["layers"][1]["kernel_shape"] == [3, 3, 16, 16]
    for layer in (*before["layers"], *after["layers"]):
        assert layer["std"] > 0
        assert layer["relative_grad_norm"] == pytest.approx(layer["grad_norm"] / layer["kernel_norm"])
    network = pretrained.load_network(workdir)
    initial = network.spec.initial_weights(tiny.config().seed)["params"]
    for weights, found in ((initial, before), (network.params, after)):
        norm = np.linalg.norm(weights["stem"]["conv1"]["conv"]["kernel"])
        assert found["layers"][0]["kernel_norm"] == pytest.approx(norm, rel=1e-5)


def test_with_the_seed_of_the_run_the_loss_before_training_is_that_of_its_first_step(workdir, measured):
    _, leaves, _, _ = checkpoint.read(workdir / "checkpoints", 1)
    first = float(leaves["sums/loss"] / leaves["sums/count"])
    assert measured["seed"] == tiny.config().seed
    assert measured["steps"][0]["loss"] == pytest.approx(first, rel=1e-5)


def test_steps_are_chosen_and_other_seeds_draw_other_images(workdir, measured, tmp_path, capsys):
    (other,) = measure(workdir, tmp_path / "s.json", "--step=last", "--seed=5")["steps"]
    last = measured["steps"][-1]
    assert other["step"] == last["step"] == 1
    assert other["loss"] != last["loss"]
    assert other["layers"][0]["std"] != last["layers"][0]["std"]
    assert other["layers"][0]["kernel_norm"] == last["layers"][0]["kernel_norm"]
    printed = capsys.readouterr().out
    assert f"  step 1                 training loss {other['loss']:.4f}, responses " in printed
    head = other["layers"][-1]
    numbers = f"{head['std']:.3g}, gradient {head['grad_norm']:.3g} ({head['relative_grad_norm']:.3g})"
    assert f"  head                   response {numbers}\n" in printed


def test_the_best_step_is_that_of_the_lowest_validation_error_that_was_kept(tmp_path):
    errors = {10: 30.0, 20: 20.0, 30: 20.0, 40: 10.0}
    lines = [json.dumps({"step": step, "val/top1_error": error}) for step, error in errors.items()]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert signals._steps(("best",), tmp_path, [10, 20, 30]) == [20]
    assert signals._steps(("last", "best", 0), tmp_path, [10, 20, 30]) == [0, 20, 30]
    assert signals._steps(("all",), tmp_path, [10, 20]) == [0, 10, 20]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--step=7"], r"--step=7: .* has no such checkpoint .there are: 0, untrained, and 1."),
        (["--step=best"], r"--step=best: .* has no such checkpoint"),
        (["--step=first"], "--step=first .allowed: last, best"),
        (["--images=0"], "--images=0 .allowed: a whole number from 1"),
        (["--split=tset"], "split of synthetic is 'tset', did you mean 'test'"),
        (["--weights=x"], "unknown flag --weights"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(workdir, tmp_path, flags, message):
    with pytest.raises(InputError, match=message) as error:
        signals.main([f"--workdir={workdir}", f"--output={tmp_path / 's.json'}", *flags])
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
