"""Compares trees of arrays."""

import jax
import numpy as np


def assert_trees_close(a, b, *, rtol):
    for (path, x), (_, y) in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree_util.tree_leaves_with_path(b), strict=True
    ):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        scale = np.abs(x).max() + 1e-12
        assert np.abs(x - y).max() <= rtol * scale, jax.tree_util.keystr(path)


def assert_trees_equal(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b)


def assert_same_leaves(ours, theirs):
    """Arrays by name have the same types, shapes and bits."""
    described = ({name: (x.dtype, x.shape, x.tobytes()) for name, x in leaves.items()} for leaves in (ours, theirs))
    first, second = described
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
