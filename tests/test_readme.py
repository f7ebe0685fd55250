"""What README.md, CONTRIBUTING.md and docs/ say is true: commands run, links and files exist, options are real.

A command in an sh block of README.md or a guide is `make TARGET`, `.venv/bin/resnet-alexnet COMMAND ...` or
`.venv/bin/python -m MODULE ...`; or one of a launcher, which tests/launch runs. The test runs all other commands of the
package in one empty folder: those of README.md, then those of the guides, in order. Training is shortened. If a recipe
needs data that must be fetched, its config is loaded and that is all.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_alexnet import main
from resnet_alexnet.__main__ import COMMANDS
from resnet_alexnet.study.design import ALL
from resnet_alexnet.workdir.config import load_config, override
from tests.support import sweeps, torch_peers
from tests.support.archives import write_archives
from tests.support.documents import blocks, commands, read
from tests.support.photo_sets import write_folder

ROOT = Path(__file__).parents[1]
GUIDES = [
    "docs/recipes.md",
    "docs/papers.md",
    "docs/runs.md",
    "docs/hosts.md",
    "docs/data.md",
    "docs/trained.md",
    "docs/weights.md",
    "docs/sweeps.md",
]  # their commands run after README.md's
USER_DOCUMENTS = ["README.md", *GUIDES, "docs/differences.md", "docs/launch.md"]
DOCUMENTS = [
    *USER_DOCUMENTS,
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/input.md",
    "docs/scaling.md",
    "docs/speed.md",
    "docs/study.md",
    "docs/towers.md",
    "benchmarks/README.md",
]
PYTHON = ".venv/bin/python"
PROGRAM = ".venv/bin/resnet-alexnet"
PICTURES = ("predictions", "neighbors", "kernels", "flipped/confusion", "plain/confusion")
PLACES = ("benchmarks/", "configs/", "docs/", "launch/", "resnet_alexnet/", "tests/", ".ci/")


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def make_commands(target: str) -> list[str]:
    """The commands of this package that `make target` would run."""
    result = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True)
    return [line for line in result.stdout.splitlines() if f"{PYTHON} -m resnet_alexnet." in line]


def package_commands() -> list[list[str]]:
    """The words after `python -m` of the commands of README.md and the guides; make's targets stand for theirs."""
    found = []
    for line in [line for document in ("README.md", *GUIDES) for line in commands(read(document))]:
        for command in make_commands(line.removeprefix("make ")) if line.startswith("make ") else [line]:
            words = shlex.split(command)
            if words[0].startswith("launch/") or words[1].startswith("launch/"):
                continue
            if words[0] == PROGRAM:
                found.append([f"resnet_alexnet.{COMMANDS[words[1]].removesuffix('.__main__')}", *words[2:]])
            else:
                assert words[:2] == [PYTHON, "-m"], command
                found.append(words[2:])
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
    write_folder(tmp_path / "photographs")  # 36 of three classes
    environment = {**os.environ, **sweeps.one_device()}
    num_steps = 4
    for module, *arguments in package_commands():
        if module == "resnet_alexnet.main" and not {"--show", "--fields=optim", "--dry_run=64"} & set(arguments):
            if "--workdir=runs/finetune" in arguments:  # its weights and photographs are here
                arguments.append("--config.num_steps=2")
            elif needs_data(arguments):
                continue
            else:
                num_steps += 1  # so that the one which resumes has something to do
                arguments.append(f"--config.num_steps={num_steps}")
        if any(word.startswith("--budget=") for word in arguments):
            continue  # tests/study/test_recommendation.py runs one, of small networks
        if module == "resnet_alexnet.sweep":
            arguments = [word for word in arguments if not word.startswith("--jobs")]
            arguments.append("--print")  # tests/study/test_sweep.py runs one
        if module == "resnet_alexnet.study.run":
            arguments.append("--print")  # tests/study/test_execute.py runs one, and all of ours at night
        if module == "resnet_alexnet.cost":
            arguments.append("--seconds=0")
        if module == "resnet_alexnet.benchmark":
            arguments += ["--quick", "--windows=1", "--seconds=0"]
        if module == "resnet_alexnet.data.prepare":
            arguments.append("--allow_incomplete")  # the archives of this test hold four classes
        called = [sys.executable, "-m", module, *arguments]
        result = subprocess.run(called, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, f"{shlex.join(called)}\n{result.stderr}"
    assert num_steps == 7, "quickstart, one of our own, and that one resumed"
    assert (tmp_path / "runs" / "quickstart" / "curves.png").exists()
    assert (tmp_path / "data" / "imagenet2012" / "5.1.0" / "manifest.json").exists()
    for picture in ("preview", *(f"runs/quickstart/{name}" for name in PICTURES)):
        assert (tmp_path / f"{picture}.png").exists()
    assert (tmp_path / "runs" / "comparison.html").exists()
    assert untracked(tmp_path) == {".gitignore", "configs", "docs"}, "what commands write is ignored by git"


def untracked(folder: Path) -> set[str]:
    """What git does not ignore in a folder, with our .gitignore."""
    shutil.copy(ROOT / ".gitignore", folder)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    listed = ["git", "status", "--porcelain", "--untracked-files=all"]
    result = subprocess.run(listed, cwd=folder, capture_output=True, text=True, check=True)
    return {line.removeprefix("?? ") for line in result.stdout.splitlines()}


@pytest.mark.parametrize("document", USER_DOCUMENTS)
def test_lines_of_commands_fit_the_width_of_github(document):
    lines = "".join(blocks(read(document))).splitlines()
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document):
    text = read(document)
    assert set(re.findall(r"\bmake ([a-z]+)(?=[ `\n].*)", "\n".join(commands(text)) + "\n")) <= make_targets()
    assert set(re.findall(r"`make ([a-z]+)[^`]*`", text)) <= make_targets()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_files_exist(document):
    text = read(document)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("https://")]
    quoted = re.findall(r"`([^`\s]+)`", text)
    files = [name for name in quoted if name.startswith(PLACES) or re.fullmatch(r"\w+\.(md|toml|txt)", name)]
    files = [name.partition(":")[0] for name in files if "NAME" not in name]
    folder = (ROOT / document).parent
    assert [name for name in links if not (folder / name).exists()] == []
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_list_of_contents_has_every_section():
    text = read("README.md")
    sections = re.findall(r"^##+ (.+)$", text, re.MULTILINE)
    assert re.findall(r"\[([^]]+)\]\(#([^)]+)\)", text) == [(name, name.lower().replace(" ", "-")) for name in sections]


@pytest.mark.parametrize("document", USER_DOCUMENTS)
def test_options_named_in_the_documents_are_taken(document):
    words = {word.rstrip(".,;") for word in re.findall(r"--config\.[^\s`]+=[^\s`]+", read(document))}
    for word in words - {"--config.FIELD=VALUE"}:
        config = load_config(str(ROOT / "configs" / "default.py"))
        override(config, [word])


@pytest.mark.parametrize("document", USER_DOCUMENTS)
def test_commands_named_in_the_documents_exist(document):
    text = read(document)
    assert set(re.findall(r"resnet-alexnet ([a-z]+)[ `]", text)) <= set(COMMANDS)
    modules = {name.removesuffix(".__main__") for name in COMMANDS.values()}
    assert set(re.findall(r"-m resnet_alexnet\.([\w.]+)", text)) <= modules
    recipes = re.findall(r"--config=(\w+)[\s:`]", text)
    known = {path.stem for folder in ("configs", "configs/studies") for path in (ROOT / folder).glob("*.py")} | {ALL}
    assert set(recipes) <= known


def test_the_table_of_recipes_lists_every_recipe():
    listed = re.findall(r"^\| \[(\w+)\]\(\.\./configs/(\w+)\.py\)", read("docs/recipes.md"), re.MULTILINE)
    assert all(name == file for name, file in listed)
    no_recipes = {"__init__", "default", "imagenet"}  # what recipes share
    assert sorted(name for name, _ in listed) == sorted({f.stem for f in (ROOT / "configs").glob("*.py")} - no_recipes)
