"""Robustness: the error of a network on corrupted images."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float32

from resnet_alexnet import parallel
from resnet_alexnet.data.corruptions import CORRUPTIONS, SEVERITIES, check_channels, corrupt
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.photos import map_in_threads
from resnet_alexnet.data.sources import ProgressFn, Source, no_progress
from resnet_alexnet.evaluate.classes import match_classes
from resnet_alexnet.evaluate.report import wilson_interval
from resnet_alexnet.metrics import top_errors
from resnet_alexnet.paths import Tree
from resnet_alexnet.pretrained.network import TrainedModel, probabilities

_CLEAN = ("clean", 0)
_AHEAD = 8  # batches that are corrupted ahead

Condition = tuple[str, int]  # the name of a corruption, and a severity
Batch = dict[str, np.ndarray]


def measure_robustness(
    network: TrainedModel,
    source: Source,
    *,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    seed: int = 0,
    batch_size: int,
    precision: str = "float32",
    mesh: parallel.Mesh,
    progress: ProgressFn = no_progress,
) -> dict[str, Any]:
    """The top-1 error of a network on a split, as it is and under each corruption, as JSON values.

    Each image is read once. What is corrupted is the crop that the network sees, so that a severity means the same for
    photographs of all sizes.

    Args:
        network: the network.
        source: the split, with the crops of the network, from `inputs.read_test_crops`.
        corruptions: names of CORRUPTIONS.
        seed: of the corruptions.
        batch_size: images per step, rounded up to a multiple of the number of devices. Results do not depend on it.
        precision: compute dtype of the network, "float32" or "bfloat16".
        mesh: the devices.
        progress: shows the progress.

    Returns:
        "images"; "clean", the error of the images as they are; "corruptions": by name "unit", "severities", a list of
        "severity", "amount" in that unit, and error, and "mean_error", over the severities; and "mean_error", over the
        corruptions. An error is "top1_error" in percent and "top1_interval" (95 %, Wilson).

    Raises:
        InputError: the images are neither gray nor color, or the network does not have a class of the split.
    """
    check_channels(source.image_shape[-1])
    conditions = [_CLEAN, *((name, severity) for name in corruptions for severity in range(1, SEVERITIES + 1))]
    new_labels = match_classes(source.classes, network.spec.preprocessing.classes, network="the network")
    batch_size = parallel.padded_batch_size(batch_size, len(source), mesh)
    step = parallel.parallel_rows(_create_step(network, jnp.dtype(precision)), mesh)
    params, batch_stats = (parallel.replicate(tree, mesh) for tree in (network.params, network.batch_stats))
    batches = loader.eval_batches(source, batch_size=batch_size)
    shown = progress(batches, math.ceil(len(source) / batch_size), f"batches, in {len(conditions)} conditions each")
    items = _in_conditions(shown, conditions)
    wrong = dict.fromkeys(conditions, 0)
    with contextlib.closing(map_in_threads(partial(_corrupt_batch, seed=seed), items, ahead=_AHEAD)) as corrupted:
        for (condition, labels), scores in parallel.run_batches(
            lambda _, batch: step(params, batch_stats, batch), corrupted, mesh
        ):
            errors = top_errors(np.asarray(scores)[: len(labels)], new_labels[labels])
            wrong[condition] += int(errors["top1"].sum())
    return _summarize(wrong, corruptions, count=len(source), side=min(source.image_shape[:2]))


def _in_conditions(batches: Iterable[Batch], conditions: Sequence[Condition]) -> Iterator[tuple[int, Batch, Condition]]:
    """Yields (number of the first image, batch, condition): each batch in every condition."""
    first = 0
    for batch in batches:
        for condition in conditions:
            yield first, batch, condition
        first += len(batch["mask"])


def _corrupt_batch(item: tuple[int, Batch, Condition], *, seed: int) -> tuple[tuple[Condition, np.ndarray], Batch]:
    """((condition, labels), corrupted images); what pads the last batch has no label and is not corrupted."""
    first, batch, (name, severity) = item
    labels, images = batch["label"][batch["mask"]], batch["image"]
    if severity:
        images = images.copy()
        for row in range(len(labels)):
            images[row] = corrupt(images[row], name, severity, seed=seed, index=first + row)
    return ((name, severity), labels), {"image": images}


def _create_step(
    network: TrainedModel, dtype: jnp.dtype
) -> Callable[[Tree, Tree, dict[str, jax.Array]], Float32[Array, "rows classes"]]:
    """Creates the function that computes the class probabilities of a batch."""
    spec = network.spec
    graphdef, normalize = spec.graphdef(), partial(spec.preprocessing.normalize, dtype=dtype)

    def step(params: Tree, batch_stats: Tree, batch: dict[str, jax.Array]) -> jax.Array:
        model: Any = nnx.merge(graphdef, params, batch_stats)
        return probabilities(model(normalize(batch["image"])), spec.scores)

    return step


def _summarize(wrong: Mapping[Condition, int], corruptions: Sequence[str], *, count: int, side: int) -> dict[str, Any]:
    """The report, from the number of images that are wrong in each condition."""

    def error(condition: Condition) -> dict[str, Any]:
        missed = wrong[condition]
        return {"top1_error": 100 * (missed / count), "top1_interval": wilson_interval(missed, count)}

    by_name = {}
    for name in corruptions:
        corruption = CORRUPTIONS[name]
        severities = [
            {"severity": severity, "amount": corruption.amount(severity, side), **error((name, severity))}
            for severity in range(1, SEVERITIES + 1)
        ]
        mean = sum(each["top1_error"] for each in severities) / SEVERITIES
        by_name[name] = {"unit": corruption.unit, "severities": severities, "mean_error": mean}
    mean = sum(each["mean_error"] for each in by_name.values()) / len(by_name)
    return {"images": count, "clean": error(_CLEAN), "corruptions": by_name, "mean_error": mean}
