"""Batch arithmetic and where arrays lie."""

import jax
import numpy as np
import pytest

from resnet_alexnet import parallel
from resnet_alexnet.errors import InputError


def test_a_batch_that_the_devices_cannot_share_names_one_that_they_can():
    mesh = parallel.create_mesh()
    assert parallel.device_batch_size(64, mesh, field="batch_size") == 8
    with pytest.raises(
        InputError, match=r"batch_size=60 does not divide among 8 device\(s\) \(allowed: multiples of 8, such as 64\)"
    ):
        parallel.device_batch_size(60, mesh, field="batch_size")


def test_rows_go_to_devices_in_order():
    mesh = parallel.create_mesh()
    array = parallel.split_batch({"index": np.arange(16)[None]}, mesh, axis=1)["index"]
    rows = {shard.device.id: np.asarray(shard.data).ravel().tolist() for shard in array.addressable_shards}
    assert rows == {device: [2 * device, 2 * device + 1] for device in range(8)}


@pytest.mark.parametrize("count", [4, 1000, 100_000])
def test_replicate_puts_all_of_it_everywhere_and_shares_no_memory_with_the_host(count):
    mesh = parallel.create_mesh()
    memory = np.empty(4 * count + 64, np.uint8)
    start = -memory.ctypes.data % 64  # jax shares memory that begins at a multiple of 64
    host = memory[start : start + 4 * count].view(np.float32)
    host[:] = 1
    array = parallel.replicate({"a": host}, mesh)["a"]
    host[:] = 2
    assert len(array.addressable_shards) == 8
    assert all((np.asarray(shard.data) == 1).all() for shard in array.addressable_shards)
    assert len({shard.data.unsafe_buffer_pointer() for shard in array.addressable_shards}) == 8


def test_one_process_loads_all_rows():
    assert parallel.process_rows(32, parallel.create_mesh()) == slice(0, 32)


def test_a_mesh_of_some_devices():
    assert parallel.create_mesh(jax.devices()[:3]).size == 3
