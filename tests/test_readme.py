"""What README.md and CONTRIBUTING.md say is true: commands run, links and files exist, options are real.

A command in an sh block of README.md is `make TARGET` or `.venv/bin/python -m MODULE ...`. The test runs all those of
the package, in order, in one empty folder. Training is shortened; where it needs data that must be fetched, the config
is loaded and no more.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_alexnet import main
from resnet_alexnet.workdir.config import load_config, override
from tests.support import torch_peers
from tests.support.archives import write_archives

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/data.md", "docs/input.md", "docs/trained.md"]
PYTHON = ".venv/bin/python"
PLACES = ("benchmarks/", "configs/", "docs/", "resnet_alexnet/", "tests/", ".ci/")


def commands(text: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def make_commands(target: str) -> list[str]:
    """The commands of this package that `make target` would run."""
    result = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True)
    return [line for line in result.stdout.splitlines() if f"{PYTHON} -m resnet_alexnet." in line]


def package_commands() -> list[str]:
    """The commands of README.md, those of make's targets in their place."""
    found = []
    for line in commands(README):
        found += make_commands(line.removeprefix("make ")) if line.startswith("make ") else [line]
    return found


def needs_data(arguments: list[str]) -> bool:
    """Whether a recipe trains on data that does not come with the package; loads its config and checks its fields."""
    if not any(word.startswith("--config=") for word in arguments):
        return False
    config, _ = main.read_run(main.create_parser().parse(arguments))
    return config.dataset.name != "fashion_mnist" or bool(config.dataset.data_dir)


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path, monkeypatch):
    for folder in ("configs", "docs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    weights = torch_peers.torchvision.models.resnet18().state_dict()
    torch_peers.torch.save(weights, tmp_path / "resnet18-f37072fd.pth")
    monkeypatch.chdir(tmp_path)
    write_archives(tmp_path)
    # The machine's own devices instead of conftest's eight.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    num_steps = 50
    for line in package_commands():
        python, _, module, *arguments = shlex.split(line)
        assert python == PYTHON, line
        if module == "resnet_alexnet.main":
            if needs_data(arguments):
                continue
            num_steps += 1  # so that the one which resumes has something to do
            arguments.append(f"--config.num_steps={num_steps}")
        if module == "resnet_alexnet.data.prepare":
            arguments.append("--allow_incomplete")  # the archives of this test hold four classes
        called = [sys.executable, "-m", module, *arguments]
        result = subprocess.run(called, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, f"{line}\n{result.stderr}"
    assert num_steps == 53, "quickstart, one of our own, and that one resumed"
    assert (tmp_path / "runs" / "quickstart" / "curves.png").exists()
    assert (tmp_path / "data" / "imagenet2012" / "5.1.0" / "manifest.json").exists()
    for picture in ("preview", "predictions", "neighbors", "kernels", "scores/plain/confusion"):
        assert (tmp_path / f"{picture}.png").exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    assert set(re.findall(r"\bmake ([a-z]+)(?=[ `\n].*)", "\n".join(commands(text)) + "\n")) <= make_targets()
    assert set(re.findall(r"`make ([a-z]+)[^`]*`", text)) <= make_targets()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_files_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("https://")]
    quoted = re.findall(r"`([^`\s]+)`", text)
    files = [name for name in quoted if name.startswith(PLACES) or re.fullmatch(r"\w+\.(md|toml|txt)", name)]
    files = [name.partition(":")[0] for name in files if "NAME" not in name]
    folder = (ROOT / document).parent
    assert [name for name in links if not (folder / name).exists()] == []
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_options_named_in_the_readme_are_taken():
    words = {word.rstrip(".,;") for word in re.findall(r"--config\.[^\s`]+=[^\s`]+", README)}
    assert len(words) > 5
    for word in words:
        config = load_config(str(ROOT / "configs" / "default.py"))
        override(config, [word])


def test_the_table_of_recipes_lists_every_recipe():
    listed = re.findall(r"^\| \[(\w+)\]\(configs/(\w+)\.py\)", README, re.MULTILINE)
    assert all(name == file for name, file in listed)
    no_recipes = {"__init__", "default", "imagenet"}  # what recipes share
    assert sorted(name for name, _ in listed) == sorted({f.stem for f in (ROOT / "configs").glob("*.py")} - no_recipes)
