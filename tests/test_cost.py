"""The command that counts what training costs."""

import json

import jax
import pytest

from resnet_alexnet import cost, pretrained
from resnet_alexnet.errors import InputError
from tests.support import tiny
from tests.support.processes import words
from tests.support.runs import write_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("cost") / "run", tiny.config())


def test_the_numbers_are_those_of_the_network(workdir, tmp_path, capsys):
    cost.main([f"--workdir={workdir}", f"--output={tmp_path / 'cost.json'}", "--seconds=0"])
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "cost.json").read_text())
    weights = pretrained.load_network(workdir).params
    parameters = sum(leaf.size for leaf in jax.tree.leaves(weights))
    assert found["parameters"] == parameters
    # The stem, then two 3x3 convolutions a stage, of 16, 32 and 64 channels; 8x8 gray images, halved twice
    convolutions = [(64, 1, 16), *[(64, 16, 16)] * 2, (16, 16, 32), (16, 32, 32), (4, 32, 64), (4, 64, 64)]
    assert (
        found["multiply_adds"] == sum(9 * pixels * inputs * outputs for pixels, inputs, outputs in convolutions) + 640
    )
    # Parameters and momentum, at least; without the training set, which is on the device too
    assert 2 * 4 * parameters < found["memory"] < 100e6
    assert found["batch_size"] == tiny.config().batch_size
    assert found["images_per_second"] > 0
    assert f"{parameters:,}" in printed


def test_more_images_take_more_memory_and_nothing_else(workdir, tmp_path):
    found = []
    for size in (16, 32):
        output = tmp_path / f"{size}.json"
        cost.main([f"--workdir={workdir}", f"--output={output}", f"--config.batch_size={size}", "--seconds=0"])
        found.append(json.loads(output.read_text()))
    assert found[0]["parameters"] == found[1]["parameters"]
    assert found[0]["multiply_adds"] == found[1]["multiply_adds"]
    assert 1.3 < found[1]["memory"] / found[0]["memory"] < 2


def test_a_recipe_is_enough(workdir, tmp_path, capsys):
    cost.main([*words(tiny.config()), f"--output={tmp_path / 'cost.json'}", "--seconds=0"])
    assert "multiply-adds" in capsys.readouterr().out


def test_without_a_recipe_or_a_run_it_says_what_to_give():
    with pytest.raises(InputError, match="--config is missing: a recipe, or --workdir, a run folder"):
        cost.main([])
