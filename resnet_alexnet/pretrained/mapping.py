"""Renames and reshapes weights by a table, in both directions; which table, `torchvision` says.

A table is of layers: (pattern of our layer's path, their layer's path, kind). The kind says what their leaves are
called and how they lie in memory: torch keeps the outputs first, as OIHW and OI, we keep them last.
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
    """One array of a layer: what they call it, and its form as theirs; back to ours it also takes our shape."""

    name: str
    to_theirs: Callable[[np.ndarray], np.ndarray] = lambda x: x
    to_ours: Callable[[np.ndarray, Shape], np.ndarray] = lambda x, shape: x


@dataclass(frozen=True)
class Kind:
    """A kind of layer: its leaves by our names, and what of theirs has no counterpart and is dropped."""

    leaves: Mapping[str, Leaf]
    dropped: tuple[str, ...] = ()


Table = tuple[tuple[str, str, Kind], ...]

_BIAS = {"bias": Leaf("bias")}
CONVOLUTION = Kind(  # HWIO and OIHW
    {"kernel": Leaf("weight", lambda x: x.transpose(3, 2, 0, 1), lambda x, _: x.transpose(2, 3, 1, 0)), **_BIAS}
)
LINEAR = Kind({"kernel": Leaf("weight", lambda x: x.T, lambda x, _: x.T), **_BIAS})
MAP_LINEAR = Kind(  # HWIO, and their inner product of a flattened map: O, CHW
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
    """Their path and the kind of our layer at `path`, such as "stages/0/1/conv1/conv"."""
    matches = [(match.expand(theirs), kind) for ours, theirs, kind in table if (match := re.fullmatch(ours, path))]
    if len(matches) != 1:
        raise ValueError(f"{len(matches)} rows of the table are for {path}, needed is one")
    return matches[0]


def to_theirs(table: Table, leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our leaves, by the names of `network.TrainedModel.leaves`, under their names and in their form."""
    return {theirs: leaf.to_theirs(leaves[name]) for name, (theirs, leaf) in _renamed(table, leaves).items()}


def to_ours(
    table: Table, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Shape], *, where: str
) -> dict[str, np.ndarray]:
    """Their arrays under our names and in our form, of these shapes by our names.

    Raises:
        InputError: names that are missing or unexpected, shapes that differ and arrays not of floating-point numbers,
            all at once, by their names; `where` says what the arrays are.
    """
    renamed = _renamed(table, shapes)
    nothing = np.uint8(0)
    expected = {
        theirs: leaf.to_theirs(np.broadcast_to(nothing, shapes[name])).shape for name, (theirs, leaf) in renamed.items()
    }
    dropped = _dropped(table, shapes)
    given = {name: array.shape for name, array in arrays.items() if name not in dropped}
    problems = mismatches(expected, given)
    present = [name for name in expected if name in given]
    if others := [f"{name} is {arrays[name].dtype}" for name in present if arrays[name].dtype != np.float32]:
        problems.append(f"{len(others)} not of floating-point numbers ({', '.join(others[:8])})")
    if problems:
        raise InputError(f"{where}: {'; '.join(problems)}")
    return {name: leaf.to_ours(arrays[theirs], shapes[name]) for name, (theirs, leaf) in renamed.items()}


def _renamed(table: Table, names: Iterable[str]) -> dict[str, tuple[str, Leaf]]:
    """Their name and form for each of our leaves, such as "params/stages/0/1/conv1/conv/kernel"; no two share one."""
    renamed = {}
    for name in names:
        path, kind = rename_layer(table, _layer(name))
        leaf = kind.leaves[name.rpartition("/")[2]]
        renamed[name] = (f"{path}.{leaf.name}", leaf)
    counts = Counter(theirs for theirs, _ in renamed.values())
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ValueError(f"the table has several arrays for {twice}")
    return renamed


def _dropped(table: Table, names: Iterable[str]) -> set[str]:
    layers = [rename_layer(table, path) for path in {_layer(name) for name in names}]
    return {f"{path}.{name}" for path, kind in layers for name in kind.dropped}


def _layer(name: str) -> str:
    """The layer's path in a leaf's name, without the collection before and the leaf after it."""
    return name.partition("/")[2].rpartition("/")[0]
