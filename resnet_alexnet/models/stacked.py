"""Equal blocks of a stage, stored as one block whose arrays are stacked, and run by `lax.scan`.

A network has its blocks one by one: stages.0.0, stages.0.1 and so on. Only the programs of steps may have them stacked,
which compile in a time that does not grow with the depth. A run of equal blocks is called by its first and its last
block, stages.0.1-17, and so are its arrays: params/stages/0/1-17/conv1/conv/kernel has those of 17 blocks along its
first axis. Files always have the arrays of single blocks.
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from resnet_alexnet.models.convolution import inside_loop
from resnet_alexnet.models.layers import Layer, LayerError
from resnet_alexnet.models.recomputation import kept_in_loop, recomputed
from resnet_alexnet.paths import Tree, is_within, leaf_name

_RUN = re.compile(r"((?:.*/)?stages/\d+/)(\d+)-(\d+)(/.*)")  # the name of an array of a run of blocks


def _single_names(name: str) -> list[str]:
    """The names of the arrays that are stacked in the array called `name`; none if that is no stack."""
    if not (run := _RUN.fullmatch(name)):
        return []
    return [f"{run[1]}{block}{run[4]}" for block in range(int(run[2]), int(run[3]) + 1)]


def unstack(tree: Tree) -> dict[str, Any]:
    """The arrays of a tree by name, each stack as the arrays of its blocks; of arrays on the host these are views."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if names := _single_names(name := leaf_name(path)):
            leaves |= zip(names, leaf, strict=True)
        else:
            leaves[name] = leaf
    return leaves


def stack(leaves: Mapping[str, Any], like: Tree) -> Tree:
    """The inverse of `unstack`: the tree has the structure of `like`, whose names say what is stacked."""

    def leaf(path: tuple[Any, ...], _: Any) -> Any:
        if not (names := _single_names(name := leaf_name(path))):
            return leaves[name]
        parts = [leaves[single] for single in names]
        return (np if all(isinstance(part, np.ndarray) for part in parts) else jnp).stack(parts)

    return jax.tree_util.tree_map_with_path(leaf, like)


def stack_blocks(model: Any, apart: Sequence[str] = ()) -> bool:
    """Puts the equal blocks of each stage into one, if the network's option `scan` says so.

    The first block of a stage stays apart, because it may have a stride or a projection.

    Args:
        model: is changed. It has shapes instead of arrays.
        apart: paths. A block that one of them names stays apart, and so does one of whose layers one of them names.

    Returns:
        Whether the network's option says so.
    """
    if not getattr(model, "scan_equal_blocks", False):
        return False
    for number, blocks in enumerate(model.stages):
        alone = {i for i in range(len(blocks)) if any(is_within(path, [f"stages.{number}.{i}"]) for path in apart)}
        runs = {}
        for _, run in itertools.groupby(range(len(blocks)), key=lambda i, alone=alone | {0}: i if i in alone else None):
            first, *others = run
            name = f"{first}-{others[-1]}" if others else str(first)
            runs[name] = _stacked(blocks[first], 1 + len(others)) if others else blocks[first]
        model.stages[number] = nnx.Dict(runs)
    return True


def _stacked(block: nnx.Module, size: int) -> nnx.Module:
    """The block, which has shapes, with one more axis in front."""
    for _, variable in nnx.iter_graph(block):
        if isinstance(variable, nnx.Variable):
            one = variable.get_value()
            variable.set_raw_value(jax.ShapeDtypeStruct((size, *one.shape), one.dtype))
    return block


def run_blocks(blocks: Any, x: jax.Array, *, train: bool, remat: bool) -> jax.Array:
    """Applies the blocks of a stage one after the other.

    Args:
        blocks: an nnx.List, or an nnx.Dict after `stack_blocks`.
        x: the input of the first one.
        train: see `BatchNorm`.
        remat: whether only the input of each block is kept for the backward pass.
    """
    for name, block in _in_order(blocks):
        is_run = "-" in name
        if not (is_run or remat):
            x = block(x, train=train)
            continue
        call, weights = _as_function(block, train=train, in_loop=is_run)
        if is_run:
            policy = None if remat else kept_in_loop
            x, moved = lax.scan(jax.checkpoint(call, policy=policy, prevent_cse=False), x, weights)
        else:
            x, moved = recomputed(call)(x, weights)
        for variable, value in zip(_statistics(block), moved, strict=True):
            variable.set_raw_value(value)
    return x


def _in_order(blocks: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(blocks, nnx.Dict):
        return sorted(blocks.items(), key=lambda item: int(item[0].partition("-")[0]))
    return ((str(number), block) for number, block in enumerate(blocks))


def _as_function(
    block: Any, *, train: bool, in_loop: bool
) -> tuple[Callable[[jax.Array, Any], tuple[jax.Array, list[jax.Array]]], Any]:
    """A pure function (x, weights) -> (y, running statistics), and the weights of the block."""
    graphdef, state = nnx.split(block)

    def call(x: jax.Array, weights: Any) -> tuple[jax.Array, list[jax.Array]]:
        copy: Any = nnx.merge(graphdef, weights)
        try:
            with inside_loop() if in_loop else contextlib.nullcontext():
                y = copy(x, train=train)
        except LayerError as error:  # of a layer of the copy, which has no name
            raise LayerError(_layers(block)[_layers(copy).index(error.layer)], str(error)) from None
        return y, [variable.get_value() for variable in _statistics(copy)]

    return call, nnx.to_pure_dict(state)


def _layers(block: nnx.Module) -> list[Layer]:
    return [module for _, module in nnx.iter_modules(block) if isinstance(module, Layer)]


def _statistics(block: nnx.Module) -> list[nnx.Variable]:
    return [variable for _, variable in nnx.iter_graph(block) if isinstance(variable, nnx.BatchStat)]
