"""Layers and parameters by the beginning of their path, such as "stages/0" or, as in the summary, "stages.0"."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from resnet_alexnet.errors import InputError, nearest


def _names(path: str) -> tuple[str, ...]:
    return tuple(re.split(r"[./]", path))


def longest_prefix(path: str, prefixes: Iterable[str]) -> str | None:
    """The longest of the prefixes that `path` begins with, whole names compared; None where it begins with none."""
    names = _names(path)
    fitting = [prefix for prefix in prefixes if names[: len(_names(prefix))] == _names(prefix)]
    return max(fitting, key=lambda prefix: len(_names(prefix)), default=None)


def is_within(path: str, prefixes: Iterable[str]) -> bool:
    """Whether `path` begins with one of the prefixes."""
    return longest_prefix(path, prefixes) is not None


def check_prefixes(what: str, prefixes: Sequence[str], paths: Iterable[str]) -> None:
    """Raises InputError, naming the nearest, for a prefix that no path begins with; `what` says whose it is."""
    split = [_names(path) for path in paths]
    known = {"/".join(names[: length + 1]): None for names in split for length in range(len(names))}
    for prefix in prefixes:
        path = "/".join(_names(prefix))
        if path not in known:
            first = ", ".join(dict.fromkeys(names[0] for names in split))
            raise InputError(
                f"{what} has {prefix!r}{nearest(path, known)} (allowed: {first}, or a path in one of them)"
            )


Tree = Any  # nested plain dicts with arrays at the leaves


def leaf_name(path: tuple[Any, ...]) -> str:
    """A leaf's path in a tree as "params/stages/0/0/conv1/conv/kernel": its name in checkpoints and weight files."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def partition(tree: Tree, chosen: Callable[[str], bool]) -> tuple[Tree, Tree]:
    """The leaves whose `leaf_name` is chosen, and the others: two trees, with None where the other has a leaf."""
    takes = jax.tree_util.tree_map_with_path(lambda path, _: chosen(leaf_name(path)), tree)
    pick = lambda wanted: jax.tree.map(lambda leaf, take: leaf if take == wanted else None, tree, takes)  # noqa: E731
    return pick(True), pick(False)


def join(tree: Tree, other: Tree) -> Tree:
    """The tree of which these are the two parts."""
    return jax.tree.map(lambda a, b: b if a is None else a, tree, other, is_leaf=lambda leaf: leaf is None)
