"""Trained networks out of run folders, which stay as they are, and out of weight files."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from resnet_alexnet import pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import convert, weights
from resnet_alexnet.pretrained.network import TrainedModel
from resnet_alexnet.train import loop
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.workdir import checkpoint
from resnet_alexnet.workdir.checkpoint import Checkpointer
from resnet_alexnet.workdir.folder import create_workdir
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import processes, tiny
from tests.support.files import snapshot
from tests.support.networks import assert_same_network, create_network

pytestmark = pytest.mark.usefixtures("leftovers")

# A model that can be written in torch's names as well.
CONFIG = tiny.config(
    num_steps=6,
    model__shortcut_padding="both",
    eval__every_steps=2,
    checkpoint__every_steps=2,
    checkpoint__keep=3,
    log__every_steps=6,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run of 6 steps with checkpoints at 2, 4 and 6; to be copied, not changed."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "create_experiment", lambda config, *_, **__: create_experiment(config, jax.devices()[:1]))
        loop.train_and_evaluate(CONFIG, workdir)
    return workdir


@pytest.fixture
def copied(run, tmp_path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def damage(workdir: Path, step: int) -> None:
    """Flips a bit in the largest file of a checkpoint's arrays."""
    files = (path for path in (workdir / "checkpoints" / str(step) / "state").rglob("*") if path.is_file())
    largest = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)


def assert_weights(network: TrainedModel, leaves: dict[str, np.ndarray], prefix: str = "") -> None:
    ours = network.leaves()
    assert len(ours) == sum(name.startswith(("params/", "batch_stats/")) for name in leaves)
    assert all(array.tobytes() == leaves[prefix + name].tobytes() for name, array in ours.items())


@pytest.mark.slow
class TestRunFolders:
    def test_the_last_parameters_come_back_with_what_they_are_and_nothing_is_changed(self, run):
        before = snapshot(run)
        network = pretrained.load_network(run)
        assert snapshot(run) == before
        assert_weights(network, processes.saved_leaves(run, CONFIG))
        expected = create_experiment(CONFIG, jax.devices()[:1]).model.spec
        assert network.spec.to_json() == expected.to_json()
        assert network.spec.options == {"shortcut_padding": "both"}

    def test_any_step_comes_back(self, run):
        networks = {step: pretrained.load_network(run, step=step) for step in (2, 4, 6)}
        assert_same_network(pretrained.load_network(run, step="last"), networks[6])
        kernels = [network.params["head"]["kernel"].tobytes() for network in networks.values()]
        assert len(set(kernels)) == 3

    def test_the_best_is_that_of_the_lowest_validation_error(self, run):
        lines = read_metrics(run / "metrics.jsonl")
        errors = {line["step"]: line["val/top1_error"] for line in lines if "val/top1_error" in line}
        assert errors.keys() == {2, 4, 6}
        best = min(errors, key=lambda step: (errors[step], step))
        assert_same_network(pretrained.load_network(run, step="best"), pretrained.load_network(run, step=best))

    def test_a_step_that_is_not_there_is_named_with_those_that_are(self, run):
        with pytest.raises(InputError, match=r"has no checkpoint 5 \(there are: 2, 4, 6\)"):
            pretrained.load_network(run, step=5)

    def test_a_damaged_newest_checkpoint_gives_the_one_before_and_stays_where_it_is(self, copied, run, capsys):
        damage(copied, 6)
        before = snapshot(copied)
        assert_same_network(pretrained.load_network(copied), pretrained.load_network(run, step=4))
        assert snapshot(copied) == before
        (warning,) = capsys.readouterr().err.splitlines()
        assert warning.startswith("warning: checkpoint 6 in ")
        assert warning.endswith("; using checkpoint 4")

    def test_a_damaged_checkpoint_that_is_asked_for_is_named(self, copied):
        damage(copied, 4)
        with pytest.raises(InputError, match=r"checkpoint 4 in .*checkpoints is damaged: "):
            pretrained.load_network(copied, step=4)
        for step in (2, 6):
            damage(copied, step)
        with pytest.raises(InputError, match=r"checkpoint 6 in .* is damaged"):
            pretrained.load_network(copied)

    def test_a_checkpoint_without_its_record_does_not_hide_the_best(self, copied, run):
        lines = read_metrics(run / "metrics.jsonl")
        errors = {line["step"]: line["val/top1_error"] for line in lines if "val/top1_error" in line}
        best = min(errors, key=lambda step: (errors[step], step))
        other = next(step for step in (6, 4, 2) if step != best)
        shutil.rmtree(copied / "checkpoints" / str(other) / "metadata")
        assert_same_network(pretrained.load_network(copied, step="best"), pretrained.load_network(run, step=best))

    @pytest.mark.parametrize("names", ["ours", "torchvision"])
    def test_a_run_becomes_a_weight_file_by_the_command(self, run, tmp_path, capsys, names):
        path = tmp_path / "x.safetensors"
        convert.main([f"--workdir={run}", "--step=4", f"--output={path}", f"--names={names}"])
        assert "mean: an image" in capsys.readouterr().out
        assert_same_network(pretrained.load_network(path), pretrained.load_network(run, step=4))


def read(workdir: Path, step: int):
    return checkpoint.read(workdir / "checkpoints", step)[:3]


def test_the_moving_average_is_taken_where_the_run_kept_one(tmp_path):
    config = tiny.config(optim__ema_decay=0.9)
    create_workdir(tmp_path / "run", config)
    experiment = create_experiment(config, jax.devices()[:1])
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(experiment.steps.create_state)  # every leaf, the average's too, gets numbers of its own
    state = jax.tree.map(lambda leaf: abs(rng.standard_normal(leaf.shape)).astype(leaf.dtype), shapes)
    state = state.replace(step=np.int32(3))
    with Checkpointer(tmp_path / "run" / "checkpoints", keep=1) as checkpointer:
        checkpointer.save(int(state.step), state, {"network": experiment.model.spec.to_json()})
    network = pretrained.load_network(tmp_path / "run")
    _, leaves, _ = read(tmp_path / "run", 3)
    assert network.leaves().keys() == {name.removeprefix("ema/") for name in leaves if name.startswith("ema/")}
    for name, array in network.leaves().items():
        np.testing.assert_array_equal(array, leaves[f"ema/{name}"])
        assert not np.array_equal(array, leaves[name])
    with pytest.raises(InputError, match=r"has no checkpoint best \(there are: 3\)"):
        pretrained.load_network(tmp_path / "run", step="best")


def test_what_is_no_run_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"is not a run folder: it has no config.json"):
        pretrained.load_network(tmp_path)
    create_workdir(tmp_path / "run", CONFIG)
    with pytest.raises(InputError, match=r"run/checkpoints has no checkpoint"):
        pretrained.load_network(tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_weight_file_comes_back_and_has_no_steps(tmp_path):
    network, path = create_network("cifar_resnet8", size=32), tmp_path / "x.safetensors"
    weights.save(network, path)
    assert_same_network(pretrained.load_network(path), network)
    with pytest.raises(InputError, match="is a weight file, which has no checkpoint 'best'"):
        pretrained.load_network(path, step="best")
    with pytest.raises(InputError, match="does not exist"):
        pretrained.load_network(tmp_path / "none.safetensors")
