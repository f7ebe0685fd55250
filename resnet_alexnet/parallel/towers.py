"""Model parallelism over the two towers of [K12]: the mesh ("data", "tower"), and where each parameter is.

Each pair of devices holds one copy of the network, half of it on each device, and works on its own part of the batch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.parallel.mesh import AXIS, EVERYWHERE, Specs, create_mesh, in_order
from resnet_alexnet.paths import leaf_name

TOWER = "tower"
TOWERS = (1, 2)  # values of mesh.towers


def create_tower_mesh(towers: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Creates the mesh of a run: with the axis "data" for one tower, with ("data", "tower") for two.

    The devices of a pair are neighbors in the order of the processes, so they are in one process if it has two.

    Args:
        towers: devices over which one copy of the network is split, mesh.towers.
        devices: the devices; None for all.

    Raises:
        InputError: `towers` is not 1 or 2, or the devices are not pairs.
    """
    check_name("mesh.towers", towers, TOWERS)
    if towers == 1:
        return create_mesh(devices)
    devices = in_order(devices)
    processes = [device.process_index for device in devices]
    counts = {processes.count(process) for process in processes}
    if len(devices) % 2 or any(count % 2 and count > 1 for count in counts):
        where = f"{len(devices)} device(s)" if len(counts) == 1 else f"{sorted(counts)} devices in the processes"
        raise InputError(
            f"mesh.towers=2 splits the network over pairs of devices, but here are {where} "
            "(allowed: an even number in each process, or one; or mesh.towers=1)"
        )
    pairs = np.array(devices).reshape(-1, towers)
    return Mesh(pairs, (AXIS, TOWER), axis_types=(AxisType.Auto,) * 2)


def tower_specs(shapes: Callable[[], Any], axes: Mapping[str, int]) -> Specs:
    """Where each leaf of a tree is on the mesh: split over the towers, or whole on every device.

    Args:
        shapes: returns the tree with shapes: parameters, or a state with more trees of their names, as the momentum. It
            is not called if nothing is split, because shapes of a deep network take seconds.
        axes: the axis along which each parameter is split, by its name, such as {"conv1/kernel": 0}; empty: none is.
    """
    if not axes:
        return EVERYWHERE

    def spec(path: tuple[Any, ...], leaf: Any) -> PartitionSpec:
        name = leaf_name(path)
        axis = next((axis for parameter, axis in axes.items() if f"/{name}".endswith(f"/{parameter}")), None)
        return EVERYWHERE if axis is None else PartitionSpec(*[None] * (axis % leaf.ndim), TOWER)

    return jax.tree_util.tree_map_with_path(spec, shapes())


def device_bytes(tree: Any, shardings: Any = None) -> tuple[int, int]:
    """The bytes of a tree of arrays that one device holds, and those of the whole tree.

    Args:
        tree: the arrays, or their shapes and types.
        shardings: a tree of where they are; None for where arrays say that they are.
    """
    leaves = jax.tree.leaves(tree)
    places = [leaf.sharding for leaf in leaves] if shardings is None else jax.tree.leaves(shardings)
    placed = zip(leaves, places, strict=True)
    held = sum(math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf, place in placed)
    return held, sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
