"""Fine-tuning: the options and the arrays that a network takes from trained weights."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from resnet_alexnet import pretrained
from resnet_alexnet.data.sources import ProgressFn, no_progress
from resnet_alexnet.errors import InputError
from resnet_alexnet.models.trace import classifier, layer_calls, layer_paths
from resnet_alexnet.paths import check_prefixes, is_within, leaf_name
from resnet_alexnet.pretrained.network import (
    ModelSpec,
    TrainedModel,
    check_mismatches,
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
    finetune: Mapping[str, Any],
    model: str,
    options: Mapping[str, Any],
    *,
    weights: Path | None = None,
    progress: ProgressFn = no_progress,
) -> Start | None:
    """Loads the trained network that a run starts from; None for a run from random weights. It may lack layers.

    Args:
        finetune: the group of the config.
        model: the name of the run's network.
        options: the options that the config sets for it.
        weights: path to read the weights from, instead of finetune.weights; None for finetune.weights itself.
        progress: shows the progress of a download.

    Raises:
        InputError: see `pretrained.load_network`.
    """
    where = finetune["weights"]
    if not where:
        if tuple(finetune["new_head"]) != (AUTO,):
            raise InputError(
                "finetune.new_head is set without finetune.weights: set both, or leave finetune.new_head out"
            )
        return None
    path = weights or os.path.expanduser(where)
    return Start(pretrained.load_network(path, model=model, partial=True, progress=progress, **options), where)


def start_preprocessing(start: Start, preprocess: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing that a run takes from its weights, at the sizes that the group `preprocess` of the config sets.

    With another image size, photographs are resized in the proportion that the weights were trained with, unless
    preprocess.shorter_side is set.
    """
    return start.network.spec.preprocessing.at_size(preprocess["image_size"], preprocess["shorter_side"])


def new_prefixes(start: TrainedModel, spec: ModelSpec, new_head: Sequence[str]) -> tuple[str, ...]:
    """Paths of the layers that get random weights: `new_head`; for (AUTO,) the classifier, unless classes are equal.

    With (AUTO,) a classifier that the weight file lacks is new too.
    """
    if tuple(new_head) != (AUTO,):
        return tuple(new_head)
    size, channels = spec.preprocessing.image_size, spec.preprocessing.channels
    head = classifier(layer_calls(spec.abstract(), (size, size, channels)))
    before = start.spec
    same = (before.preprocessing.classes, before.num_logits) == (spec.preprocessing.classes, spec.num_logits)
    lacks = any(is_within(_inside(name), (head,)) for name in start.missing)
    return () if same and not lacks else (head,)


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
    if lacking := sorted({_inside(name).rpartition("/")[0].replace("/", ".") for name in kept.keys() & start.missing}):
        raise InputError(
            f"{where} lacks {', '.join(lacking)}: to train these layers anew, name them in finetune.new_head"
        )
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
