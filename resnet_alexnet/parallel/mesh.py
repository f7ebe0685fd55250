"""Data parallelism: the mesh, shard_map and batch arithmetic. The only module that imports jax.sharding."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_alexnet.errors import InputError

AXIS = "data"


def create_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Creates a mesh with one axis, over which batches are split, of the given devices or of all."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def device_batch_size(batch_size: int, mesh: Mesh, *, field: str) -> int:
    """The number of images per device.

    Raises:
        InputError: the batch does not divide evenly among the devices. The message names `field`.
    """
    if batch_size < 1 or batch_size % mesh.size:
        nearest = max(mesh.size, round(batch_size / mesh.size) * mesh.size)
        raise InputError(
            f"{field}={batch_size} does not divide among {mesh.size} device(s) "
            f"(allowed: multiples of {mesh.size}, such as {nearest})"
        )
    return batch_size // mesh.size


def padded_batch_size(batch_size: int, images: int, mesh: Mesh) -> int:
    """Images per step for a pass over `images`: no more than there are, rounded up to a multiple of the devices."""
    return -(-min(batch_size, images) // mesh.size) * mesh.size


def process_rows(batch_size: int) -> slice:
    """The rows of the global batch that this process loads."""
    local = batch_size // jax.process_count()
    return slice(jax.process_index() * local, (jax.process_index() + 1) * local)


def replicated(function: Callable[..., Any], mesh: Mesh, *arguments: Any) -> Any:
    """Calls `function` under jit, with its result replicated on all devices of the mesh."""
    return jax.jit(function, out_shardings=NamedSharding(mesh, PartitionSpec()))(*arguments)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Replicates a tree on all devices of the mesh.

    Host arrays are copied first: on a CPU a device array may share memory with a host array, and steps donate their
    arguments.
    """
    sharding = NamedSharding(mesh, PartitionSpec())
    if jax.process_count() > 1:  # device_put would compare the values of all processes, leaf by leaf
        return jax.tree.map(partial(_replicate_among_processes, sharding=sharding), tree)
    tree = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else jnp.array(leaf), tree)
    return jax.device_put(tree, sharding)


def _replicate_among_processes(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """A leaf, of which each process has the same value, on the devices of all."""
    if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
        return leaf
    value = np.array(leaf)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def split_batch(batch: dict[str, np.ndarray], mesh: Mesh, *, axis: int = 0) -> dict[str, jax.Array]:
    """Splits the rows of this process, along `axis`, over its devices, as their shards of a global array."""
    sharding = NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))
    with jax.transfer_guard_host_to_device("allow"):  # of several processes, JAX does not take it for explicit
        return jax.make_array_from_process_local_data(sharding, batch)  # all arrays in one transfer


def parallel_train_chunk(train_chunk: Callable, mesh: Mesh) -> Callable:
    """Jitted shard_map of (state, data, chunk) -> (state, step): state replicated and donated, chunk split by rows."""
    everywhere, rows = PartitionSpec(), PartitionSpec(None, AXIS)
    mapped = jax.shard_map(
        train_chunk, mesh=mesh, in_specs=(everywhere, everywhere, rows), out_specs=(everywhere, everywhere)
    )
    return jax.jit(mapped, donate_argnums=0)


def parallel_eval_step(eval_step: Callable, mesh: Mesh) -> Callable:
    """Jitted shard_map of (params, batch_stats, batch) -> sums, the batch split by rows."""
    everywhere, rows = PartitionSpec(), PartitionSpec(AXIS)
    return jax.jit(jax.shard_map(eval_step, mesh=mesh, in_specs=(everywhere, everywhere, rows), out_specs=everywhere))


def parallel_rows(function: Callable, mesh: Mesh) -> Callable:
    """Jitted shard_map of (params, batch_stats, batch) -> an array with one row per row of the batch, both split."""
    everywhere, rows = PartitionSpec(), PartitionSpec(AXIS)
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=(everywhere, everywhere, rows), out_specs=rows))


def parallel_sums(add: Callable, mesh: Mesh) -> Callable:
    """Jitted shard_map of (params, sums, number, batch) -> sums: the batch split by rows, the sums donated."""
    everywhere, rows = PartitionSpec(), PartitionSpec(AXIS)
    mapped = jax.shard_map(add, mesh=mesh, in_specs=(everywhere, everywhere, everywhere, rows), out_specs=everywhere)
    return jax.jit(mapped, donate_argnums=1)
