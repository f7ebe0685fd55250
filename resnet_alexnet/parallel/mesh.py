"""The mesh, shard_map and batch arithmetic.

A mesh has the axis "data", over which batches are split, and for a network of two towers also the axis "tower", over
which its parameters are split, see `towers`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_alexnet.errors import InputError
from resnet_alexnet.parallel.compiling import compiler_options

AXIS = "data"
Specs = Any  # a PartitionSpec, or a tree of them with the structure of what they describe
EVERYWHERE = PartitionSpec()  # the whole array is on every device


def create_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Creates a mesh with one axis, over which batches are split, of the given devices or of all."""
    return Mesh(np.array(in_order(devices)), (AXIS,), axis_types=(AxisType.Auto,))


def in_order(devices: Sequence[jax.Device] | None = None) -> list[jax.Device]:
    """The given devices, or all, in the order of the processes, on which `process_rows` relies.

    `jax.make_mesh` may choose another one on TPUs.
    """
    return sorted(jax.devices() if devices is None else devices, key=lambda device: (device.process_index, device.id))


def data_size(mesh: Mesh) -> int:
    """The number of parts into which a batch is split."""
    return mesh.shape[AXIS]


def device_batch_size(batch_size: int, mesh: Mesh, *, field: str) -> int:
    """The number of images per device.

    Raises:
        InputError: the batch does not divide evenly among the devices. The message names `field`.
    """
    parts = data_size(mesh)
    if batch_size < 1 or batch_size % parts:
        nearest = max(parts, round(batch_size / parts) * parts)
        devices = f"{parts} device(s)" if parts == mesh.size else f"{parts} pair(s) of devices"
        raise InputError(
            f"{field}={batch_size} does not divide among {devices} (allowed: multiples of {parts}, such as {nearest})"
        )
    return batch_size // parts


def padded_batch_size(batch_size: int, images: int, mesh: Mesh) -> int:
    """Images per step for a pass over `images`: no more than there are, rounded up to a multiple of the parts."""
    return -(-min(batch_size, images) // data_size(mesh)) * data_size(mesh)


def process_rows(batch_size: int, mesh: Mesh) -> slice:
    """The rows of the global batch that this process loads. Processes whose devices share rows load the same rows."""
    parts = min(jax.process_count(), data_size(mesh))
    local, part = batch_size // parts, jax.process_index() * parts // jax.process_count()
    return slice(part * local, (part + 1) * local)


def sharded(function: Callable[..., Any], mesh: Mesh, specs: Specs, *arguments: Any) -> Any:
    """Calls `function`, and puts its result on the devices of the mesh as `specs` says; see `shard`."""
    return shard(function(*arguments), mesh, specs)


def shard(tree: Any, mesh: Mesh, specs: Specs) -> Any:
    """Puts a tree on the devices of the mesh as `specs` says. Each process passes the whole tree.

    Host arrays are copied first, to one device: on a CPU a device array may share memory with a host array, even with
    `may_alias=False`, and steps donate their arguments. `jnp.array` would compile a program for each shape.
    """
    shardings = _shardings(mesh, specs)
    if jax.process_count() > 1:  # device_put would compare the values of all processes, leaf by leaf
        return jax.tree.map(lambda sharding, part: jax.tree.map(partial(_place, sharding), part), shardings, tree)
    first = mesh.devices.flat[0]

    def copied(leaf: Any) -> jax.Array:
        return leaf if isinstance(leaf, jax.Array) else jax.device_put(np.array(leaf), first)

    return jax.device_put(jax.tree.map(copied, tree), shardings)


def _place(sharding: NamedSharding, leaf: Any) -> jax.Array:
    """Puts a leaf, of which each process has the whole, on the devices of all processes."""
    if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
        return leaf
    value = np.array(leaf)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def _shardings(mesh: Mesh, specs: Specs) -> Any:
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)


def replicated(function: Callable[..., Any], mesh: Mesh, *arguments: Any) -> Any:
    """Calls `function`, and replicates its result on all devices of the mesh."""
    return sharded(function, mesh, EVERYWHERE, *arguments)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Replicates a tree on all devices of the mesh, see `shard`."""
    return shard(tree, mesh, EVERYWHERE)


def split_batch(batch: dict[str, np.ndarray], mesh: Mesh, *, axis: int = 0) -> dict[str, jax.Array]:
    """Splits the rows of this process, along `axis`, over its devices, as their shards of a global array."""
    sharding = NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))
    with jax.transfer_guard_host_to_device("allow"):  # of several processes, JAX does not take it for explicit
        return jax.make_array_from_process_local_data(sharding, batch)  # all arrays in one transfer


def parallel_train_chunk(train_chunk: Callable, mesh: Mesh, specs: Specs = EVERYWHERE) -> Callable:
    """Jitted shard_map of (state, data, chunk) -> (state, step): the state donated, the chunk split by rows.

    `specs` says where the state is.
    """
    rows = PartitionSpec(None, AXIS)
    mapped = jax.shard_map(train_chunk, mesh=mesh, in_specs=(specs, EVERYWHERE, rows), out_specs=(specs, EVERYWHERE))
    return jax.jit(mapped, donate_argnums=0, compiler_options=compiler_options(mesh))


def parallel_eval_step(eval_step: Callable, mesh: Mesh, specs: Specs = EVERYWHERE) -> Callable:
    """Jitted shard_map of (params, batch_stats, batch) -> sums, the batch split by rows. `specs` are of the params."""
    in_specs = (specs, EVERYWHERE, PartitionSpec(AXIS))
    mapped = jax.shard_map(eval_step, mesh=mesh, in_specs=in_specs, out_specs=EVERYWHERE)
    return jax.jit(mapped, compiler_options=compiler_options(mesh))


def parallel_rows(function: Callable, mesh: Mesh) -> Callable:
    """Jitted shard_map of (params, batch_stats, batch) -> an array with one row per row of the batch, both split."""
    rows = PartitionSpec(AXIS)
    mapped = jax.shard_map(function, mesh=mesh, in_specs=(EVERYWHERE, EVERYWHERE, rows), out_specs=rows)
    return jax.jit(mapped, compiler_options=compiler_options(mesh))


def parallel_sums(add: Callable, mesh: Mesh) -> Callable:
    """Jitted shard_map of (params, sums, number, batch) -> sums: the batch split by rows, the sums donated."""
    in_specs = (EVERYWHERE, EVERYWHERE, EVERYWHERE, PartitionSpec(AXIS))
    mapped = jax.shard_map(add, mesh=mesh, in_specs=in_specs, out_specs=EVERYWHERE)
    return jax.jit(mapped, donate_argnums=1, compiler_options=compiler_options(mesh))
