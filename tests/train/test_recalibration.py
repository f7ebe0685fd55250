"""Exact statistics of batch normalization against slow loops."""

import dataclasses
import json
import re
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from resnet_alexnet import parallel, pretrained, recalibrate
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.loading.loader import epoch_order
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.network import weights_of
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train import augment, inputs, recalibration, steps
from resnet_alexnet.workdir.config import load_config
from tests.support import tiny
from tests.support.guests import write_lenet
from tests.support.networks import create_network
from tests.support.photo_sets import create_source, damage, write_folder
from tests.support.runs import write_run
from tests.support.trees import assert_trees_close

COUNT, BATCH = 44, 16  # two whole batches, and 12 images on 4 of 8 devices


@pytest.fixture(scope="module")
def network():
    return create_network(size=8, channels=1, bn_group=4, bn_unbiased_variance=True)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (COUNT, 8, 8, 1)) * np.linspace(0.2, 1, COUNT)[:, None, None, None]
    return ArraySource(images.astype(np.uint8), np.sort(rng.integers(0, 3, COUNT)).astype(np.int32), ("a", "b", "c"))


def preprocess(**augmentation):
    normalize = Preprocessing(8, 1, np.float32([100]), np.float32([60]), ()).normalize
    return partial(
        steps.preprocess_batch, normalize=normalize, augment=partial(augment.augment, **augmentation), mix=None
    )


def run(network, source, *, devices=1, **augmentation):
    mesh = parallel.create_mesh(jax.devices()[:devices])
    return recalibration.recalibrate(
        network, source, preprocess=preprocess(**augmentation), batch_size=BATCH, seed=5, mesh=mesh
    )


@pytest.fixture(scope="module")
def exact(network, source):
    return run(network, source)


def test_the_first_layers_statistics_are_those_of_all_pixels(network, source, exact):
    kernel = network.params["stem"]["conv1"]["conv"]["kernel"].astype(np.float64)[:, :, 0]
    x = np.pad((source.images[..., 0] - 100.0) / 60, [(0, 0), (1, 1), (1, 1)])
    y = sum(x[:, i : i + 8, j : j + 8, None] * kernel[i, j] for i in range(3) for j in range(3))
    found = exact.batch_stats["stem"]["conv1"]["norm"]
    np.testing.assert_allclose(found["mean"], y.mean((0, 1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["var"], y.var((0, 1, 2)), rtol=1e-5)


def test_all_layers_statistics_are_those_of_a_slow_loop_over_the_batches(network, source, exact):
    order = epoch_order(COUNT, seed=5, epoch=0)
    means, squares = None, None
    for rows in (order[:16], order[16:32], order[32:]):
        model = network.module(bn_group=None, bn_momentum=0.0, bn_unbiased_variance=False)
        model((source.images[rows].astype(np.float32) - 100) / 60, train=True)
        stats = jax.device_get(weights_of(model)["batch_stats"])
        leaves = dict(jax.tree_util.tree_leaves_with_path(stats))
        mean = {path[:-1]: np.float64(leaf) for path, leaf in leaves.items() if path[-1].key == "mean"}
        square = {path: np.float64(leaves[(*path, jax.tree_util.DictKey("var"))]) + mean[path] ** 2 for path in mean}
        share = len(rows) / COUNT
        means = {path: share * leaf + (means[path] if means else 0) for path, leaf in mean.items()}
        squares = {path: share * leaf + (squares[path] if squares else 0) for path, leaf in square.items()}
    found = dict(jax.tree_util.tree_leaves_with_path(exact.batch_stats))
    assert len(found) == 2 * len(means)
    for path, mean in means.items():
        np.testing.assert_allclose(found[(*path, jax.tree_util.DictKey("mean"))], mean, rtol=1e-3, atol=1e-4)
        variance = squares[path] - mean**2
        np.testing.assert_allclose(found[(*path, jax.tree_util.DictKey("var"))], variance, rtol=1e-3, atol=1e-5)


def test_nothing_else_changes_and_the_networks_own_statistics_do_not_matter(network, source, exact):
    assert exact.spec == network.spec
    assert exact.params is network.params
    other = dataclasses.replace(network, batch_stats=jax.tree.map(lambda leaf: leaf * 3 + 1, network.batch_stats))
    jax.tree.map(np.testing.assert_array_equal, run(other, source).batch_stats, exact.batch_stats)


def test_eight_devices_give_the_statistics_of_one_augmented_or_not(network, source, exact):
    assert_trees_close(run(network, source, devices=8).batch_stats, exact.batch_stats, rtol=1e-4)
    one, eight = (run(network, source, devices=devices, pad=2, flip=True).batch_stats for devices in (1, 8))
    assert_trees_close(one, eight, rtol=1e-4)
    with pytest.raises(AssertionError):
        assert_trees_close(one, exact.batch_stats, rtol=1e-2)


def test_a_network_without_batch_normalization_is_refused(source):
    with pytest.raises(InputError, match="alexnet_cifar has no batch normalization"):
        run(create_network("alexnet_cifar", size=8, channels=1), source)


def test_plain_flax_batch_normalization_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))
    with pytest.raises(InputError, match="cannot be recalibrated: it has no bn_group, bn_momentum, bn_unbiased_varian"):
        run(create_network(write_lenet(tmp_path), size=8, channels=1), source)


@pytest.mark.parametrize("batch_size", [16, 18])
def test_unreadable_photographs_are_named_and_limited_in_whole_batches_and_the_last(tmp_path, batch_size):
    """Of 36 photographs all in whole batches, or the last four in one of their own."""
    folder = write_folder(tmp_path)
    network, source = create_network(size=24), create_source(folder)
    last = source.where(int(epoch_order(len(source), seed=0, epoch=0)[-1]))
    damage(folder, str(Path(last).relative_to(folder / "train")))
    lines = []
    options = {
        "preprocess": preprocess(),
        "batch_size": batch_size,
        "seed": 0,
        "mesh": parallel.create_mesh(jax.devices()[:1]),
    }
    recalibration.recalibrate(network, source, max_unreadable=1, report=lines.append, **options)
    assert len(lines) == 1
    assert f"{last} cannot be read" in lines[0]
    with pytest.raises(InputError, match=r"1 training photographs could not be read, more than"):
        recalibration.recalibrate(network, source, max_unreadable=0, **options)


def test_photographs_have_the_views_for_testing_where_asked_for(tmp_path):
    source = create_source(write_folder(tmp_path, per_class=2))
    chosen = recalibration.with_test_crops(source)
    rows = np.arange(len(source))
    np.testing.assert_array_equal(chosen.gather(rows, (0, 0))["image"], source.gather(rows)["image"])
    assert not np.array_equal(source.gather(rows, (0, 0))["image"], source.gather(rows)["image"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("recalibrate") / "run", tiny.config())


def test_the_command_writes_the_network_and_shows_the_errors_before_and_after(folder, tmp_path, capsys):
    output, report = tmp_path / "exact.safetensors", tmp_path / "errors.json"
    flags = [f"--output={output}", f"--report={report}", "--batch_size=64", "--augment=false"]
    recalibrate.main([f"--workdir={folder}", *flags])
    printed = capsys.readouterr().out
    errors = json.loads(report.read_text())
    assert "cifar_resnet8, exact statistics of 180 images" in printed
    for split in ("validation", "test"):
        before, after = errors[split]["before"], errors[split]["after"]
        assert re.search(rf"{split} error +{before:.2f} % before, {after:.2f} % after\n", printed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["errors.json", "exact.safetensors"]


def test_the_errors_are_those_of_a_slow_loop(folder):
    network = pretrained.load_network(folder)
    config = load_config(str(folder / "config.json"))
    groups = (config.dataset, config.preprocess, config.augment)
    splits = inputs.read_splits(*groups, start=network.spec.preprocessing)
    found = recalibration.error_rates(
        [network], splits, batch_size=16, precision="float32", mesh=parallel.create_mesh()
    )
    preprocessing, images = network.spec.preprocessing, splits.test.images.astype(np.float32)
    logits = network.module()((images - preprocessing.mean) / preprocessing.std)
    assert found["test"][0] == pytest.approx(100 * np.mean(np.argmax(logits, 1) != splits.test.labels))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--output is missing"),
        (["--output=x.npz"], "a file that ends in .safetensors"),
        (["--output={tmp}/x.safetensors", "--augment=val"], "--augment=val .allowed: true, false"),
        (["--output={tmp}/x.safetensors", "--shortcut=B"], "--shortcut is for the weight files of .* with --weights"),
        (["--output={tmp}/x.safetensors", "--batch_size=12"], "--batch_size=12 does not divide among 8"),
        (
            ["--output={tmp}/x.safetensors", "--config.dataset.classes=('class_1','class_0')"],
            "has 2 classes, the trained network 10; the first difference is class 0: 'class_1', not 'class_0'",
        ),
        (["--output={tmp}/x.safetensors", "--config.dataset.num_classes=4"], "class 4: 'none', not 'class_4'"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(folder, tmp_path, flags, message):
    with pytest.raises(InputError, match=message) as error:
        recalibrate.main([f"--workdir={folder}", *(flag.replace("{tmp}", str(tmp_path)) for flag in flags)])
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("batch_size", "devices"), [(43, 1), (1, 1)])
def test_statistics_of_one_value_are_refused_before_the_first_batch(source, batch_size, devices, monkeypatch):
    monkeypatch.setattr(recalibration, "_whole_batches", None)
    source = dataclasses.replace(source, images=source.images[:, ::2, ::2])
    mesh = parallel.create_mesh(jax.devices()[:devices])
    with pytest.raises(InputError, match=r"^stages.2.0.conv1.norm: batch normalization in training over 1 value"):
        recalibration.recalibrate(
            create_network(size=4, channels=1), source, preprocess=preprocess(), batch_size=batch_size, mesh=mesh
        )
