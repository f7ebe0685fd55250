"""Another model than the recipe's: what becomes of the recipe's options, and a user's own network with its own."""

import json
import re
import sys
from pathlib import Path

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.train.model import set_options
from resnet_alexnet.workdir.config import flatten, load_config, load_overridden, override, to_json
from tests.support.guests import write_lenet

CONFIGS = Path(__file__).parents[2] / "configs"
QUICKSTART = str(CONFIGS / "quickstart.py")


@pytest.fixture(autouse=True)
def same_path(monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))


@pytest.mark.parametrize(
    ("recipe", "words", "options", "noted"),
    [
        ("quickstart.py", ["model.name=cifar_resnet14"], {"bn_group": "sync"}, []),
        ("quickstart.py", ["model.name=cifar_resnet8"], {"bn_group": "sync"}, []),
        ("quickstart.py", ["model.name=alexnet_cifar"], {}, ["model.bn_group='sync'"]),
        ("quickstart.py", ["model.name=alexnet_cifar", "model.bn_group=4"], {"bn_group": 4}, []),  # refused later
        (
            "resnet50.py:torchvision",
            ["model.name=plain18"],
            {"bn_group": 32, "bn_unbiased_variance": True, "pool_padding": "torch"},
            ["model.shortcut='B'", "model.stride_in='3x3'"],
        ),
    ],
)
def test_a_recipes_options_that_another_model_lacks_are_left_out_with_a_note(capsys, recipe, words, options, noted):
    config = load_overridden(str(CONFIGS / recipe), [f"--config.{word}" for word in words])
    assert set_options(config.model) == options
    notes = capsys.readouterr().err.splitlines()
    assert [line.partition(", ")[0] for line in notes] == [f"note: {field}" for field in noted]
    assert all(f"{config.model.name} has no such option" in line for line in notes)


def test_the_number_of_logits_is_no_option_of_a_model():
    config = load_overridden(QUICKSTART, ["--config.model.num_logits=1"])
    assert set_options(config.model) == {"bn_group": "sync"}


def test_a_users_own_network_has_an_absolute_path_and_its_own_options(tmp_path, monkeypatch, capsys):
    name = write_lenet(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["--config.model.width=8", "--config.model.rate=0.25", "--config.model.name=lenet.py:LeNet"]
    config = load_overridden(QUICKSTART, words)
    assert config.model.name == name
    assert config.is_locked
    assert set_options(config.model) == {"width": 8, "rate": 0.25}
    assert "model.bn_group='sync'" in capsys.readouterr().err
    (tmp_path / "config.json").write_text(json.dumps(to_json(config)))
    assert load_config(str(tmp_path / "config.json")).model == config.model


def test_only_a_users_own_network_may_have_unknown_options():
    config = load_config(QUICKSTART)
    with pytest.raises(InputError, match=r"unknown config field 'model.hidden'"):
        override(config, ["--config.model.hidden=8"])


def test_a_users_own_data_set_has_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_overridden(QUICKSTART, ["--config.dataset.name=mine.py:read"])
    assert config.dataset.name == f"{tmp_path}/mine.py:read"


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(InputError, match=r"model.name=/.*gone.py:LeNet: there is no such file; correct the path"):
        load_overridden(QUICKSTART, ["--config.model.name=gone.py:LeNet"])


def test_the_home_folder_may_be_written_short_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ("--config.dataset.data_dir=~/photos", "--config.finetune.weights=~/w.safetensors")
    config = load_overridden("quickstart", words)
    assert (config.dataset.data_dir, config.finetune.weights) == (f"{tmp_path}/photos", f"{tmp_path}/w.safetensors")
    paths = {name for name in flatten(config.to_dict()) if re.search(r"(_dir|weights|path|file|folder)$", name)}
    assert paths - {"loss.class_weights"} == {"dataset.data_dir", "finetune.weights"}  # a new one is to be expanded too
