"""Golden curves: the losses of twenty steps of six recipes are those of the last version, to the last bit.

The files tests/train/golden/JAX_VERSION.json hold them, with the CPU on which they were computed. On a CPU with other
instructions, Eigen rounds in another order: there the losses agree only nearly, and more so at the beginning. A change
that is meant to alter numbers renews the file of its jax, and says why in its commit:

GOLDEN=renew .venv/bin/python -m pytest tests/train/test_golden.py
"""

import json
import os
import platform
from pathlib import Path

import jax
import pytest

from resnet_alexnet.train import loop
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.workdir.config import load_overridden
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import kernels

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "golden"
FILE = FOLDER / f"{jax.__version__}.json"
STEPS = 20
SYNTHETIC = ["dataset.name=synthetic", "dataset.num_classes=10", "dataset.num_examples=100", "augment.crop=none"]
SMALL = [*SYNTHETIC, "preprocess.image_size=16", "batch_size=16", "model.bn_group=16"]
PHOTOGRAPHS = [*SYNTHETIC, "preprocess.image_size=64", "batch_size=8", "model.bn_group=8"]
RECIPES = {
    "quickstart": [],
    "quickstart_alexnet": ["batch_size=16"],
    "binary": [],
    "cifar_plain:14": [
        *SYNTHETIC,
        "preprocess.image_size=16",
        "batch_size=16",
        "model.bn_group=16",
        "augment.mixup=0.2",
    ],
    "resnet18": [*PHOTOGRAPHS, "model.width=8", "optim.learning_rate=0.01", "optim.ema_decay=0.9"],
    "alexnet": [*PHOTOGRAPHS[:-1], "augment.color=none", "model.init=author_code"],
}


def instructions() -> str:
    """What the CPU can do that changes how sums are split."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("\nflags")[2].partition("\n")[0].split()
    except OSError:
        flags = []
    return " ".join(
        [platform.machine(), *(name for name in ("avx2", "fma", "avx512f", "avx512_bf16") if name in flags)]
    )


def losses(recipe: str, workdir: Path, monkeypatch) -> list[str]:
    """The training loss of each step, and the last validation loss, as exact hexadecimal numbers."""
    fields = [*RECIPES[recipe], f"num_steps={STEPS}", "log.every_steps=1", "eval.every_steps=0", "eval.test=never"]
    fields += ["checkpoint.every_steps=0", "schedule.name=constant"]
    config = load_overridden(recipe, [f"--config.{field}" for field in fields])
    monkeypatch.setattr(
        loop, "create_experiment", lambda config, *_, **__: create_experiment(config, jax.devices()[:1])
    )
    with kernels.fused():
        loop.train_and_evaluate(config, workdir)
    lines = read_metrics(workdir / "metrics.jsonl")
    values = [line[name] for name in ("train/loss", "val/loss") for line in lines if name in line]
    assert len(values) == STEPS + 1
    return [float(value).hex() for value in values]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_losses_of_twenty_steps_are_those_of_the_last_version(recipe, tmp_path, monkeypatch):
    golden = json.loads(FILE.read_text()) if FILE.exists() else {"instructions": instructions(), "losses": {}}
    now = losses(recipe, tmp_path / "run", monkeypatch)
    if os.environ.get("GOLDEN") == "renew":
        golden["losses"][recipe] = now
        golden["instructions"] = instructions()
        FOLDER.mkdir(exist_ok=True)
        FILE.write_text(json.dumps(golden, indent=1) + "\n")
        return
    if recipe not in golden["losses"]:
        pytest.skip(f"no golden curves for jax {jax.__version__} yet: GOLDEN=renew makes them")
    before = golden["losses"][recipe]
    if golden["instructions"] == instructions():
        assert now == before
    else:  # the same up to rounding, which training amplifies
        for step, (value, known) in enumerate(zip(now[:3], before[:3], strict=True)):
            assert float.fromhex(value) == pytest.approx(float.fromhex(known), rel=1e-4 * 10**step)
