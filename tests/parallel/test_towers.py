"""The mesh of two towers, and where the leaves of a tree are on it."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from resnet_alexnet import parallel
from resnet_alexnet.errors import InputError
from resnet_alexnet.paths import leaf_name

AXES = {"conv1/kernel": 0, "fc6/bias": -1}


def tree():
    layers = {"conv1": {"kernel": np.ones((2, 3)), "bias": np.ones(2)}, "fc6": {"bias": np.ones((5, 4))}}
    return {"params": layers, "momentum": [layers, np.float64(0)], "my_conv1": layers["conv1"]}


def test_pairs_are_neighbors_and_batches_are_split_over_pairs():
    mesh = parallel.create_tower_mesh(2, jax.devices()[::-1])
    assert [[device.id for device in pair] for pair in mesh.devices] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert parallel.data_size(mesh) == 4
    assert parallel.device_batch_size(64, mesh, field="batch_size") == 16
    assert parallel.padded_batch_size(500, 9, mesh) == 12
    assert parallel.process_rows(32, mesh) == slice(0, 32)
    rows = parallel.split_batch({"index": np.arange(8)}, mesh)["index"].addressable_shards
    assert {shard.device.id: np.asarray(shard.data).tolist() for shard in rows} == {
        device: [2 * (device // 2), 2 * (device // 2) + 1] for device in range(8)
    }


def test_one_tower_is_the_mesh_of_data_parallelism():
    assert parallel.create_tower_mesh(1) == parallel.create_mesh()


@pytest.mark.parametrize(
    ("processes", "message"),
    [([0, 0, 0], r"here are 3 device\(s\)"), ([0, 0, 0, 1, 1, 1], r"here are 6"), ([0, 1, 2], r"here are 3")],
)
def test_devices_that_are_no_pairs_are_refused(processes, message):
    devices = [SimpleNamespace(process_index=process, id=number) for number, process in enumerate(processes)]
    with pytest.raises(InputError, match=message):
        parallel.create_tower_mesh(2, devices)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("process", "rows"), [(0, slice(0, 4)), (1, slice(0, 4)), (2, slice(4, 8)), (3, slice(4, 8))])
def test_two_processes_with_a_tower_each_load_the_same_rows(process, rows, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    monkeypatch.setattr(jax, "process_index", lambda: process)
    assert parallel.process_rows(8, parallel.create_tower_mesh(2, jax.devices()[:4])) == rows


def test_leaves_are_split_by_their_names_wherever_they_are():
    mesh = parallel.create_tower_mesh(2, jax.devices()[:4])
    specs = parallel.tower_specs(tree, AXES)
    placed = parallel.shard(tree(), mesh, specs)
    leaves = jax.tree_util.tree_leaves_with_path(placed)
    shapes = {leaf_name(path): leaf.addressable_shards[0].data.shape for path, leaf in leaves}
    own = {"conv1/kernel": (1, 3), "conv1/bias": (2,), "fc6/bias": (5, 2)}
    others = {"momentum/1": (), "my_conv1/kernel": (2, 3), "my_conv1/bias": (2,)}
    named = {f"{place}/{name}": shape for place in ("params", "momentum/0") for name, shape in own.items()}
    assert shapes == {**named, **others}
    assert parallel.device_bytes(placed["params"]) == (4 * (3 + 2 + 10), 4 * (6 + 2 + 20))  # float32
    made = parallel.sharded(lambda: placed, mesh, specs)
    assert jax.tree.map(lambda leaf: leaf.sharding, made) == jax.tree.map(lambda leaf: leaf.sharding, placed)


def test_nothing_is_split_without_axes():
    assert parallel.tower_specs(lambda: pytest.fail("shapes are not needed"), {}) == jax.sharding.PartitionSpec()
