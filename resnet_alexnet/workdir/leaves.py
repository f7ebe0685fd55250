"""The arrays of a state by name, as a checkpoint stores them, and the digest that detects damage."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from resnet_alexnet.models.stacked import stack, unstack
from resnet_alexnet.paths import Tree

Leaves = dict[str, np.ndarray]


def to_leaves(state: Tree) -> Leaves:
    """Flattens a state to a dict of host copies by path, as it is stored: with the arrays of single blocks.

    Of several processes all must call it, if a leaf is split among them.
    """
    return unstack(jax.tree.map(_host_copy, state))


def _host_copy(leaf: Any) -> np.ndarray:
    """The whole of a leaf, however it is split among devices and processes."""
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
    return np.array(leaf)


def from_leaves(leaves: Leaves, like: Tree) -> Tree:
    """The inverse of `to_leaves`; the state has the structure of `like`."""
    return stack(leaves, like)


def digest(leaves: Leaves, metadata: Mapping[str, Any]) -> str:
    """A hash of the name, type, shape and bits of each leaf, and of the metadata as JSON."""
    hasher = hashlib.blake2b(json.dumps(metadata, sort_keys=True).encode(), digest_size=16)
    for name in sorted(leaves):
        leaf = leaves[name]
        hasher.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        hasher.update(np.ascontiguousarray(leaf).view(np.uint8).data)  # bytes: bfloat16 has no buffer of its own
    return hasher.hexdigest()
