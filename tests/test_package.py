"""The wheel: what is in it, and that it works away from the checkout, without TensorFlow even where that exists."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import sweeps

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built without the network."""
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(target)], check=True)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def run_away(wheel, tmp_path_factory):
    """Runs the Python of this environment with the installed wheel in front of it, from an empty folder."""
    site, away = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("away")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True)
    (site / "tensorflow.py").write_text("import os; os._exit(99)  # nobody may import it, not even to try\n")
    environment = {**os.environ, **sweeps.one_device(), "PYTHONPATH": str(site)}

    def run(*arguments: str) -> str:
        called = [sys.executable, *arguments]
        result = subprocess.run(called, cwd=away, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, f"exit code {result.returncode}\n{result.stderr}"
        return result.stdout

    where = Path(run("-c", "import resnet_alexnet; print(resnet_alexnet.__file__)").strip())
    assert where.is_relative_to(site), f"{where}: the checkout, not the wheel"
    return run


def test_the_wheel_holds_the_package_its_data_and_its_licenses_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "resnet_alexnet").rglob("*.py")}
    data = {f"resnet_alexnet/{name}" for name in ("py.typed", "data/readers/fashion_mnist_sample.npz")}
    recipes = {f"resnet_alexnet/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.py")}
    assert sources | data | recipes == {name for name in names if name.endswith(".py")} | data
    assert data <= names
    licenses = {name.partition(".dist-info/licenses/")[2] for name in names}
    notices = {f"resnet_alexnet/data/readers/{name}.LICENSE" for name in ("fashion_mnist_sample", "imagenet_classes")}
    assert {"LICENSE", *notices} <= licenses
    assert {name.split("/")[0].split("-")[0] for name in names} == {"resnet_alexnet"}
    assert wheel.stat().st_size < 4 * 2**20


def test_the_embedded_data_can_be_read_from_the_installed_wheel(run_away):
    code = (
        "from resnet_alexnet.data.sources import create_splits\n"
        "splits = create_splits('fashion_mnist')\n"
        "print(len(splits.train), len(splits.validation), len(splits.test))"
    )
    assert run_away("-c", code).split() == ["4500", "500", "1000"]


def test_the_recipes_and_the_console_script_come_with_the_wheel(run_away, tmp_path):
    shown = run_away("-m", "resnet_alexnet", "train", "--config=resnet50:torchvision", "--show")
    assert "* model.stride_in = '3x3'  (default: unset)" in shown
    own = tmp_path / "mine.py"
    own.write_text("from configs import default\n\ndef get_config():\n    return default.get_config()\n")
    assert "0 of " in run_away("-m", "resnet_alexnet.main", f"--config={own}", "--show")
    package = Path(run_away("-c", "import resnet_alexnet; print(resnet_alexnet.__file__)").strip()).parent
    assert run_away(str(package.parent / "bin" / "resnet-alexnet")).startswith("usage: resnet-alexnet COMMAND")


def test_a_run_is_resumed_and_names_photographs_without_the_checkout(run_away, tmp_path):
    main, workdir = ("-m", "resnet_alexnet.main"), f"--workdir={tmp_path / 'run'}"
    recipe = "--config=binary"
    shorten = ("--config.schedule.warmup_steps=0", "--config.num_steps=2")
    run_away(*main, recipe, workdir, *shorten)
    output = run_away(*main, workdir, "--config.num_steps=3")
    assert "resumed at step 2" in output
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert lines[-1] == {"step": 3, "finished": True}
    assert json.loads((tmp_path / "run" / "config.json").read_text())["num_steps"] == 3
    answer = run_away(
        "-m", "resnet_alexnet.predict", workdir, "--format=json", str(ROOT / "docs" / "photos" / "bag.png")
    )
    classes = {prediction["class"] for prediction in json.loads(answer)["predictions"]}
    assert classes == {"Pullover", "Coat"}
    report = run_away("-m", "resnet_alexnet.evaluate", workdir)
    assert f"{lines[-2]['test/top1_error']:.2f} %" in report
