"""A network that starts from another's weights: the options these imply, and which of its arrays they give."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from resnet_alexnet import pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import is_guest
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

Leaves = dict[str, Any]  # arrays by the names of `TrainedModel.leaves`


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """The trained network that a run starts from, and what to call it in errors."""

    network: TrainedModel
    where: str


def load_start(
    finetune: Mapping[str, Any], model: str, options: Mapping[str, Any], *, weights: Path | None = None
) -> Start | None:
    """The trained network that a run starts from; None for a run from scratch.

    Args:
        finetune: the group of the config.
        model: the name of the run's network.
        options: the options that are set for it.
        weights: where to find what finetune.weights names; None for there.

    Raises:
        InputError: the weights cannot be read; they are of another network, or of one with another value of an option
            that is not one of `network.OF_TRAINING`.
    """
    where = finetune["weights"]
    if not where:
        if tuple(finetune["new_head"]) != (AUTO,):
            raise InputError("finetune.new_head is set, but without finetune.weights every layer is new: leave it out")
        return None
    named = model if is_guest(model) else None  # a weight file of a user's own network is read only if it is named
    network = pretrained.load_network(weights or Path(where).expanduser(), model=named)
    spec = network.spec
    if spec.model != model:
        raise InputError(f"model.name is {model!r}, but {where} holds the weights of {spec.model!r}")
    for name in differing_options(spec, options):
        own = spec.options.get(name, "the default")
        raise InputError(f"model.{name} is {options[name]!r}, but {where} was trained with {own!r}: leave it unset")
    return Start(network, where)


def new_prefixes(start: ModelSpec, spec: ModelSpec, new_head: Sequence[str]) -> tuple[str, ...]:
    """Paths of what is initialized anew: those given, or for (AUTO,) the last linear layer if the classes differ."""
    if tuple(new_head) != (AUTO,):
        return tuple(new_head)
    if (start.preprocessing.classes, start.num_logits) == (spec.preprocessing.classes, spec.num_logits):
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
    expected = shapes_of(spec.shapes())
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
