"""A network that starts from another's weights: the options these imply, and which of its arrays they give."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from resnet_alexnet.errors import InputError
from resnet_alexnet.models.trace import classifier, layer_calls, layer_paths
from resnet_alexnet.paths import check_prefixes, is_within, leaf_name
from resnet_alexnet.pretrained.network import (
    ModelSpec,
    TrainedModel,
    check_mismatches,
    differing_options,
    shapes_of,
    weights_of,
)

AUTO = "auto"


def check_options(start: ModelSpec, model: str, given: Mapping[str, Any], *, where: str) -> None:
    """Checks that a network with these options can go on from weights.

    Args:
        start: what the weights are of.
        model: the name of the network.
        given: the options that are set for it.
        where: where the weights are from.

    Raises:
        InputError: the weights are of another network, or of one with another value of an option that is not one of
            `network.OF_TRAINING`.
    """
    if start.model != model:
        raise InputError(f"model.name is {model!r}, but {where} holds the weights of {start.model!r}")
    for name in differing_options(start, given):
        own = start.options.get(name, "the default")
        raise InputError(f"model.{name} is {given[name]!r}, but {where} was trained with {own!r}: leave it unset")


def new_prefixes(start: ModelSpec, spec: ModelSpec, new_head: Sequence[str]) -> tuple[str, ...]:
    """Paths of what is initialized anew: those given, or for (AUTO,) the last linear layer if the classes differ."""
    if tuple(new_head) != (AUTO,):
        return tuple(new_head)
    if (start.preprocessing.classes, start.num_classes) == (spec.preprocessing.classes, spec.num_classes):
        return ()
    size, channels = spec.preprocessing.image_size, spec.preprocessing.channels
    return (classifier(layer_calls(spec.abstract(), (size, size, channels))),)


def select_leaves(
    start: TrainedModel, spec: ModelSpec, prefixes: Sequence[str], *, where: str
) -> dict[str, np.ndarray]:
    """The arrays that a network takes from weights, by the names of `TrainedModel.leaves`: all but those in `prefixes`.

    Raises:
        InputError: a prefix without a parameter; or arrays that are missing or of another shape, all of them named.
    """
    expected = shapes_of(weights_of(spec.abstract()))
    check_prefixes("finetune.new_head", prefixes, (_inside(name) for name in expected if name.startswith("params/")))
    kept = {name: leaf for name, leaf in start.leaves().items() if not is_within(_inside(name), prefixes)}
    expected = {name: shape for name, shape in expected.items() if not is_within(_inside(name), prefixes)}
    check_mismatches(expected, {name: leaf.shape for name, leaf in kept.items()}, model=spec.model, where=where)
    return kept


def check_frozen(model: nnx.Module, prefixes: Sequence[str]) -> None:
    """Raises InputError where a prefix is of no layer, naming the nearest, or where nothing is left to train."""
    check_prefixes("finetune.frozen", prefixes, layer_paths(model).values())
    leaves = jax.tree_util.tree_leaves_with_path(weights_of(model)["params"])
    if all(is_within(leaf_name(path), prefixes) for path, _ in leaves):
        raise InputError(f"finetune.frozen={tuple(prefixes)} leaves nothing to train (allowed: a part of the network)")


def _inside(name: str) -> str:
    """The path in the network of an array "params/stages/...": stages/..."""
    return name.partition("/")[2]
