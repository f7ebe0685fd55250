"""Renames and transposes weights between our layout and torch's, by a table; the tables are in `torchvision`.

A row of a table is a layer: (pattern of our path, their path, kind of layer). "Ours" are the names and shapes of this
project, "theirs" those of torch. The kind gives the names of their arrays and the order of their axes: torch puts the
outputs first, as in OIHW and OI, and we put them last.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.network import mismatches

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Leaf:
    """One array of a layer.

    Attributes:
        name: their name of the array.
        to_theirs: (our array) -> their array.
        to_ours: (their array, our shape) -> our array.
    """

    name: str
    to_theirs: Callable[[np.ndarray], np.ndarray] = lambda x: x
    to_ours: Callable[[np.ndarray, Shape], np.ndarray] = lambda x, shape: x


@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    Attributes:
        leaves: the arrays of the layer by our names.
        dropped: their arrays without a counterpart, which are ignored.
    """

    leaves: Mapping[str, Leaf]
    dropped: tuple[str, ...] = ()


Table = tuple[tuple[str, str, Kind], ...]

_BIAS = {"bias": Leaf("bias")}
CONVOLUTION = Kind(  # HWIO and OIHW
    {"kernel": Leaf("weight", lambda x: x.transpose(3, 2, 0, 1), lambda x, _: x.transpose(2, 3, 1, 0)), **_BIAS}
)
LINEAR = Kind({"kernel": Leaf("weight", lambda x: x.T, lambda x, _: x.T), **_BIAS})
MAP_LINEAR = Kind(  # our HWIO convolution, and their linear layer on a flattened feature map: O, CHW
    {
        "kernel": Leaf(
            "weight",
            lambda x: x.transpose(3, 2, 0, 1).reshape(x.shape[3], -1),
            lambda x, shape: x.reshape(shape[3], shape[2], *shape[:2]).transpose(2, 3, 1, 0),
        ),
        **_BIAS,
    }
)
NORM = Kind(
    {"scale": Leaf("weight"), **_BIAS, "mean": Leaf("running_mean"), "var": Leaf("running_var")},
    dropped=("num_batches_tracked",),
)


def rename_layer(table: Table, path: str) -> tuple[str, Kind]:
    """Their path, and the kind, of our layer at `path`, such as "stages/0/1/conv1/conv"."""
    matches = [(match.expand(theirs), kind) for ours, theirs, kind in table if (match := re.fullmatch(ours, path))]
    if len(matches) != 1:
        raise ValueError(f"{len(matches)} rows of the table match {path} (allowed: one)")
    return matches[0]


def to_theirs(table: Table, leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts our arrays, by their names in `TrainedModel.leaves`, to their names and shapes."""
    return {theirs: leaf.to_theirs(leaves[name]) for name, (theirs, leaf) in _renamed(table, leaves).items()}


def missing_layers(table: Table, arrays: Iterable[str], names: Iterable[str]) -> list[str]:
    """Their paths of the layers of which no array is there.

    Args:
        table: the table of layers.
        arrays: their names of the arrays that are there.
        names: our names of all arrays.
    """
    there = {name.rpartition(".")[0] for name in arrays}
    paths = dict.fromkeys(rename_layer(table, _layer(name))[0] for name in names)
    return [path for path in paths if path not in there]


def without_layers(table: Table, shapes: Mapping[str, Shape], missing: Iterable[str]) -> dict[str, Shape]:
    """The shapes, by our names, without those of the layers at their paths `missing`."""
    paths = set(missing)
    return {name: shape for name, shape in shapes.items() if rename_layer(table, _layer(name))[0] not in paths}


def to_ours(
    table: Table, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Shape], *, where: str
) -> dict[str, np.ndarray]:
    """Converts their arrays to our names and shapes.

    Args:
        table: the table of layers.
        arrays: their arrays by their names.
        shapes: our shapes by our names.
        where: where the arrays come from, for error messages.

    Raises:
        InputError: arrays are missing, unexpected, of another shape or not of floating-point numbers. One message lists
            all of them by their names.
    """
    renamed = _renamed(table, shapes)
    zero = np.uint8(0)
    expected = {
        theirs: leaf.to_theirs(np.broadcast_to(zero, shapes[name])).shape for name, (theirs, leaf) in renamed.items()
    }
    dropped = _dropped(table, shapes)
    given = {name: array.shape for name, array in arrays.items() if name not in dropped}
    problems = mismatches(expected, given)
    present = [name for name in expected if name in given]
    if others := [f"{name} is {arrays[name].dtype}" for name in present if arrays[name].dtype != np.float32]:
        problems.append(f"{len(others)} not floating-point ({', '.join(others[:8])})")
    if problems:
        raise InputError(f"{where}: {'; '.join(problems)}")
    return {name: leaf.to_ours(arrays[theirs], shapes[name]) for name, (theirs, leaf) in renamed.items()}


def _renamed(table: Table, names: Iterable[str]) -> dict[str, tuple[str, Leaf]]:
    """Their unique name and the `Leaf` of each of our arrays, such as "params/stages/0/1/conv1/conv/kernel"."""
    renamed = {}
    for name in names:
        path, kind = rename_layer(table, _layer(name))
        leaf = kind.leaves[name.rpartition("/")[2]]
        renamed[name] = (f"{path}.{leaf.name}", leaf)
    counts = Counter(theirs for theirs, _ in renamed.values())
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ValueError(f"the table maps several arrays to {twice}")
    return renamed


def _dropped(table: Table, names: Iterable[str]) -> set[str]:
    layers = [rename_layer(table, path) for path in {_layer(name) for name in names}]
    return {f"{path}.{name}" for path, kind in layers for name in kind.dropped}


def _layer(name: str) -> str:
    """The path of the layer in the name of an array: "head" for "params/head/kernel"."""
    return name.partition("/")[2].rpartition("/")[0]
