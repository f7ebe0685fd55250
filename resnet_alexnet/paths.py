"""Selects layers and parameters by path prefix: "stages/0" or, as the summary prints it, "stages.0"."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from resnet_alexnet.errors import InputError, nearest


def _names(path: str) -> tuple[str, ...]:
    return tuple(re.split(r"[./]", path))


def longest_prefix(path: str, prefixes: Iterable[str]) -> str | None:
    """Returns the longest prefix that matches `path`, or None. Only whole names match: "stages/1" not "stages/10"."""
    names = _names(path)
    fitting = [prefix for prefix in prefixes if names[: len(_names(prefix))] == _names(prefix)]
    return max(fitting, key=lambda prefix: len(_names(prefix)), default=None)


def is_within(path: str, prefixes: Iterable[str]) -> bool:
    """Whether `path` starts with one of the prefixes."""
    return longest_prefix(path, prefixes) is not None


def check_prefixes(what: str, prefixes: Sequence[str], paths: Iterable[str]) -> None:
    """Raises InputError if no path starts with one of the prefixes. The message suggests the closest path.

    Args:
        what: name of the option that holds the prefixes, for the message.
        prefixes: the prefixes to check.
        paths: all paths.
    """
    split = [_names(path) for path in paths]
    known = {"/".join(names[: length + 1]): None for names in split for length in range(len(names))}
    for prefix in prefixes:
        path = "/".join(_names(prefix))
        if path not in known:
            first = ", ".join(dict.fromkeys(names[0] for names in split))
            raise InputError(
                f"{what} has {prefix!r}{nearest(path, known)} (allowed: {first}, or a path inside one of them)"
            )


Tree = Any  # nested plain dicts with arrays at the leaves


def leaf_name(path: tuple[Any, ...]) -> str:
    """Formats a leaf's path as in checkpoints and weight files: "params/stages/0/0/conv1/conv/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def partition(tree: Tree, chosen: Callable[[str], bool]) -> tuple[Tree, Tree]:
    """Splits a tree into the leaves whose `leaf_name` is chosen and the rest. Missing leaves are None in each part."""
    takes = jax.tree_util.tree_map_with_path(lambda path, _: chosen(leaf_name(path)), tree)
    pick = lambda wanted: jax.tree.map(lambda leaf, take: leaf if take == wanted else None, tree, takes)  # noqa: E731
    return pick(True), pick(False)


def join(tree: Tree, other: Tree) -> Tree:
    """Merges the two trees that `partition` returned."""
    return jax.tree.map(lambda a, b: b if a is None else a, tree, other, is_leaf=lambda leaf: leaf is None)
