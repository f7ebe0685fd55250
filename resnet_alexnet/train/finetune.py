"""Fine-tuning: the options and the arrays that a network takes from trained weights."""

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
from resnet_alexnet.pretrained.preprocessing import Preprocessing

AUTO = "auto"

Leaves = dict[str, Any]  # name in `TrainedModel.leaves` -> array


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """The trained network that a run starts from, and its path for error messages."""

    network: TrainedModel
    where: str


def load_start(
    finetune: Mapping[str, Any], model: str, options: Mapping[str, Any], *, weights: Path | None = None
) -> Start | None:
    """Loads the trained network that a run starts from; None for a run from random weights.

    Args:
        finetune: the group of the config.
        model: the name of the run's network.
        options: the options that the config sets for it.
        weights: path to read the weights from, instead of finetune.weights; None for finetune.weights itself.

    Raises:
        InputError: the weights cannot be read, are of another network, or were trained with another value of an option
            (except the options in `network.OF_TRAINING`).
    """
    where = finetune["weights"]
    if not where:
        if tuple(finetune["new_head"]) != (AUTO,):
            raise InputError(
                "finetune.new_head is set without finetune.weights: set both, or leave finetune.new_head out"
            )
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


def start_preprocessing(start: Start, preprocess: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing that a run takes from its weights, at the sizes that the group `preprocess` of the config sets.

    With another image size, photographs are resized in the proportion that the weights were trained with, unless
    preprocess.shorter_side is set.
    """
    return start.network.spec.preprocessing.at_size(preprocess["image_size"], preprocess["shorter_side"])


def new_prefixes(start: ModelSpec, spec: ModelSpec, new_head: Sequence[str]) -> tuple[str, ...]:
    """Paths of the layers that get random weights: `new_head`, or for (AUTO,) the classifier if the classes differ."""
    if tuple(new_head) != (AUTO,):
        return tuple(new_head)
    if (start.preprocessing.classes, start.num_logits) == (spec.preprocessing.classes, spec.num_logits):
        return ()
    size, channels = spec.preprocessing.image_size, spec.preprocessing.channels
    return (classifier(layer_calls(spec.abstract(), (size, size, channels))),)


def select_leaves(
    start: TrainedModel, spec: ModelSpec, prefixes: Sequence[str], *, where: str
) -> dict[str, np.ndarray]:
    """The arrays to take from trained weights, by their names in `TrainedModel.leaves`: all outside of `prefixes`.

    Raises:
        InputError: a prefix matches no parameter, or arrays are missing or of another shape. The message lists all.
    """
    expected = shapes_of(spec.shapes())
    check_prefixes("finetune.new_head", prefixes, (_inside(name) for name in expected if name.startswith("params/")))
    kept = {name: leaf for name, leaf in start.leaves().items() if not is_within(_inside(name), prefixes)}
    expected = {name: shape for name, shape in expected.items() if not is_within(_inside(name), prefixes)}
    check_mismatches(expected, {name: leaf.shape for name, leaf in kept.items()}, model=spec.model, where=where)
    return kept


def check_frozen(model: nnx.Module, prefixes: Sequence[str]) -> None:
    """Raises InputError if a prefix matches no layer (the message names the nearest) or nothing is left to train."""
    check_prefixes("finetune.frozen", prefixes, layer_paths(model).values())
    leaves = jax.tree_util.tree_leaves_with_path(weights_of(model)["params"])
    if all(is_within(leaf_name(path), prefixes) for path, _ in leaves):
        raise InputError(f"finetune.frozen={tuple(prefixes)} leaves nothing to train (allowed: some of the layers)")


def _inside(name: str) -> str:
    """The path of an array in the network: "stages/..." for "params/stages/..."."""
    return name.partition("/")[2]
