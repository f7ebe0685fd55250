"""Recipes by name, and recipes of a user's own anywhere."""

import importlib
import subprocess
import sys

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.workdir import recipes
from resnet_alexnet.workdir.config import load_config
from tests.support import processes

OWN = """from configs import {base}

def get_config(steps="5"):
    config = {base}.get_config()
    config.num_steps = int(steps)
    return config
"""


@pytest.mark.parametrize("name", ["quickstart", "configs/quickstart", "configs/quickstart.py"])
def test_our_recipes_are_found_by_name_from_anywhere(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert load_config(name).model.name == "cifar_resnet8"


def test_a_name_may_have_an_argument():
    assert load_config("resnet50:torchvision").model.stride_in == "3x3"


def test_a_file_of_ones_own_comes_before_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.py").write_text(OWN.format(base="default"))
    assert load_config("configs/quickstart.py").num_steps == 5
    assert load_config("configs/quickstart").num_steps == 5
    assert load_config("quickstart").num_steps == 840


def test_a_recipe_of_ones_own_starts_from_one_of_ours_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN.format(base="resnet50"))
    importlib.import_module("configs.default")
    path, modules = list(sys.path), {name: module for name, module in sys.modules.items() if "configs" in name}
    config = load_config("mine.py:7")
    assert (config.model.name, config.num_steps) == ("resnet50", 7)
    assert sys.path == path
    assert {name: module for name, module in sys.modules.items() if "configs" in name} == modules


def test_recipes_of_a_folder_called_configs_import_one_another_and_ours(tmp_path):
    folders = [tmp_path / name / "configs" for name in ("one", "two")]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        base = OWN.format(base="quickstart").replace("return config", f"config.seed = {number}\n    return config")
        (folder / "base.py").write_text(base)
        (folder / "child.py").write_text(OWN.format(base="base"))
    assert [load_config(str(folder / "child.py")).seed for folder in folders] == [0, 1]


def test_an_unknown_name_lists_ours_and_names_the_nearest():
    with pytest.raises(
        InputError, match=r"no such recipe, did you mean 'resnet50'\? \(allowed: alexnet, .*, or a path\)"
    ):
        load_config("resnet51")
    assert not {"default", "imagenet", "__init__"} & set(recipes.recipe_names())
    assert len(recipes.recipe_names()) > 10


def test_recipes_load_where_the_checkout_is_not_on_the_path(tmp_path):
    program = (
        "import sys\nsys.path = [path for path in sys.path if path]\n"
        "from resnet_alexnet.workdir.config import load_config\n"
        "print(load_config(sys.argv[1]).model.name)"
    )
    recipe = str(processes.CHECKOUT / "configs" / "quickstart.py")
    result = subprocess.run([sys.executable, "-c", program, recipe], cwd=tmp_path, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("cifar_resnet8\n", "")
