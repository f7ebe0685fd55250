"""Scores images with any number of networks, views and scales, in one pass.

Each image is read and decoded once. Views of the same shape are collected until they fill a batch. The batch is sent to
the devices once and runs through each network that uses these views. So there is one compiled program per network and
shape, for any sizes of photographs, and the results do not depend on the order in which batches fill. The host holds at
most one batch of views per shape.
"""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, UInt8

from resnet_alexnet import parallel
from resnet_alexnet.data.images.decode import UnreadableImageError
from resnet_alexnet.data.images.geometry import resize_with_one_thread
from resnet_alexnet.data.photos import map_in_threads
from resnet_alexnet.data.sources import ProgressFn, no_progress
from resnet_alexnet.errors import InputError, check_name, memory_needed
from resnet_alexnet.evaluate.crops import Pixels, Views, ViewSpec
from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.evaluate.scores import check_classes
from resnet_alexnet.paths import Tree
from resnet_alexnet.pretrained.network import TrainedModel, probabilities

PRECISIONS = ("float32", "bfloat16")
_IMAGES_AHEAD = 64  # images that are decoded ahead, with all their views
_MOST_BEHIND = 64  # images that are read before an image is scored, in a stream of scores
_FINISHED_AT_ONCE = 4096  # images per call that turns mean logits into probabilities

Plan = dict[ViewSpec, list[tuple[int, int]]]  # view spec -> (index of a network that uses it, index of the scale)


def score_images(
    networks: Sequence[TrainedModel],
    read: Callable[[int], Pixels | None],
    count: int,
    *,
    protocol: TestProtocol,
    mesh: parallel.Mesh,
    batch_size: int,
    precision: str = "float32",
    progress: ProgressFn = no_progress,
    where: Callable[[int], str] = "image {}".format,
) -> Float32[np.ndarray, "networks count classes"]:
    """Computes the class probabilities of images with each network.

    Args:
        networks: the networks, of any models, sizes and preprocessing, but with the same classes.
        read: (index of an image, from 0) -> the decoded image, or None to skip it; called by several threads.
        count: the number of images.
        protocol: views, scales and averaging.
        mesh: the devices.
        batch_size: images per step over all devices, for one view of the network's own size. For more or larger views
            it is reduced in proportion, to at least one image per device.
        precision: compute dtype of the networks, one of PRECISIONS; the scores are float32.
        progress: shows the number of images read.
        where: (index of an image) -> its name in error messages.

    Returns:
        Probabilities in float32; NaN for an image that is skipped.

    Raises:
        InputError: networks have different classes or do not support the protocol, or an image has a size that a
            network does not take.
    """
    classes = _common_classes(networks)
    scores = np.full((len(networks), count, len(classes)), np.nan, np.float32)
    means = _mean_scores(
        networks,
        read,
        count,
        protocol=protocol,
        mesh=mesh,
        batch_size=batch_size,
        precision=precision,
        progress=progress,
        where=where,
    )
    for network, index, mean in means:
        scores[network, index] = mean
    if protocol.average == "logits":
        for network, logits in zip(networks, scores, strict=True):
            _to_probabilities(logits, network, protocol)
    return scores


def stream_scores(
    network: TrainedModel,
    read: Callable[[int], Pixels | None],
    count: int,
    *,
    protocol: TestProtocol,
    mesh: parallel.Mesh,
    batch_size: int,
) -> Generator[tuple[int, Float32[np.ndarray, "classes"]], None, None]:
    """Yields (index, class probabilities) of each image as soon as its batch is computed; see `score_images`.

    The probabilities are NaN for an image that is skipped. Neighboring images come out about together, whatever their
    shapes: no image waits in its batch for more than _MOST_BEHIND others. So the host holds few images and scores.
    """
    _common_classes([network])
    means = _mean_scores(
        [network],
        read,
        count,
        protocol=protocol,
        mesh=mesh,
        batch_size=batch_size,
        most_behind=max(batch_size, _MOST_BEHIND),
    )
    for _, index, mean in means:
        if protocol.average == "logits":
            _to_probabilities(mean[None], network, protocol)
        yield index, mean


def _mean_scores(
    networks: Sequence[TrainedModel],
    read: Callable[[int], Pixels | None],
    count: int,
    *,
    protocol: TestProtocol,
    mesh: parallel.Mesh,
    batch_size: int,
    precision: str = "float32",
    progress: ProgressFn = no_progress,
    where: Callable[[int], str] = "image {}".format,
    most_behind: int | None = None,
) -> Iterator[tuple[int, int, Float32[np.ndarray, "classes"]]]:
    """Yields (index of a network, index of an image, mean over views and scales), as soon as it is computed."""
    check_name("precision", precision, PRECISIONS)
    plan = _plan(networks, protocol)
    scorers = [_create_scorer(network, protocol, mesh, jnp.dtype(precision)) for network in networks]
    means = _Means(scales=max(1, len(protocol.scales)))
    resize_with_one_thread()  # the threads are the parallelism
    views = partial(_views, read=read, view_specs=tuple(plan), where=where)
    rows = partial(_rows, batch_size=batch_size, mirrored=protocol.mirrored, devices=mesh.size, count=count)

    def score(step: tuple[ViewSpec, list[int]], batch: dict[str, jax.Array]) -> list[tuple[int, int, jax.Array]]:
        return [(network, scale, scorers[network](batch["image"])) for network, scale in plan[step[0]]]

    with contextlib.closing(map_in_threads(views, range(count), ahead=_IMAGES_AHEAD)) as examples:
        batches = _batches(progress(examples, count, f"scoring {count:,} images"), rows, most_behind)
        with memory_needed("for a batch of images", f"lower --batch_size (now {batch_size})"):
            for (_, indices), results in parallel.run_batches(score, batches, mesh):
                for network, scale, result in results:
                    yield from means.add(network, scale, indices, result)
    means.check()


def _common_classes(networks: Sequence[TrainedModel]) -> tuple[str, ...]:
    """The classes that all networks share.

    Raises:
        InputError: networks differ in their classes, or the logits of a network do not match its classes.
    """
    titles = [f"network {number} ({network.spec.model})" for number, network in enumerate(networks, start=1)]
    classes = networks[0].spec.preprocessing.classes
    for network, title in zip(networks, titles, strict=True):
        spec = network.spec
        check_classes(spec.preprocessing.classes, classes, what=title, than=titles[0])
        if max(2, spec.num_logits) != len(classes):
            raise InputError(f"{title} has {spec.num_logits} logits, but {len(classes)} class names")
    return classes


def _plan(networks: Sequence[TrainedModel], protocol: TestProtocol) -> Plan:
    plan: Plan = {}
    for number, network in enumerate(networks):
        for scale, view_spec in enumerate(protocol.view_specs(network.spec)):
            plan.setdefault(view_spec, []).append((number, scale))
    return plan


def _views(
    index: int, *, read: Callable[[int], Pixels | None], view_specs: Sequence[ViewSpec], where: Callable[[int], str]
) -> tuple[int, list[tuple[ViewSpec, Views]]]:
    """The index and all views of an image; no views if the image is skipped."""
    image = read(index)
    try:
        return index, [] if image is None else [(view_spec, view_spec(image)) for view_spec in view_specs]
    except (InputError, UnreadableImageError) as error:
        raise InputError(f"{where(index)}: {error}") from None


def _rows(
    view_spec: ViewSpec, shape: tuple[int, ...], *, batch_size: int, mirrored: bool, devices: int, count: int
) -> int:
    """Images per step for views of this shape: a multiple of the devices, at least one each, no more than needed."""
    views, height, width, _ = shape
    rows = batch_size * view_spec.size**2 // (views * (1 + mirrored) * height * width)
    return min(max(1, rows // devices), -(-count // devices)) * devices


def _batches(
    examples: Iterable[tuple[int, list[tuple[ViewSpec, Views]]]],
    rows: Callable[[ViewSpec, tuple[int, ...]], int],
    most_behind: int | None,
) -> Iterator[tuple[tuple[ViewSpec, list[int]], dict[str, UInt8[np.ndarray, "rows views height width channels"]]]]:
    """Yields batches of views of one spec and shape, with the indices of their images, as they fill.

    Batches that are not full are yielded, padded with zeros, at the end, or once their first image is more than
    `most_behind` images behind.
    """
    waiting: dict[tuple[ViewSpec, tuple[int, ...]], tuple[list[int], list[Views]]] = {}

    def padded(view_spec: ViewSpec, shape: tuple[int, ...]) -> tuple[tuple[ViewSpec, list[int]], dict[str, np.ndarray]]:
        indices, batch = waiting.pop((view_spec, shape))
        padding = [np.zeros(shape, np.uint8)] * (rows(view_spec, shape) - len(batch))
        return (view_spec, indices), {"image": np.stack([*batch, *padding])}

    for index, views in examples:
        for view_spec, pixels in views:
            indices, batch = waiting.setdefault((view_spec, pixels.shape), ([], []))
            indices.append(index)
            batch.append(pixels)
            if len(indices) == rows(view_spec, pixels.shape):
                del waiting[view_spec, pixels.shape]
                yield (view_spec, indices), {"image": np.stack(batch)}
        late = [key for key, (indices, _) in waiting.items() if most_behind and index - indices[0] > most_behind]
        for view_spec, shape in late:
            yield padded(view_spec, shape)
    for view_spec, shape in list(waiting):
        yield padded(view_spec, shape)


def _create_scorer(
    network: TrainedModel, protocol: TestProtocol, mesh: parallel.Mesh, dtype: jnp.dtype
) -> Callable[[jax.Array], jax.Array]:
    """Puts a network on the devices: UInt8 (rows, views, height, width, channels) -> Float32 (rows, classes)."""
    spec = network.spec
    graphdef, *weights = network.stacked(**protocol.model_options(spec))
    step = partial(
        score_step,
        graphdef=graphdef,
        normalize=partial(spec.preprocessing.normalize, dtype=dtype),
        mirrored=protocol.mirrored,
        finish=_pairs if protocol.average == "logits" else partial(probabilities, scores=_scores(network, protocol)),
    )
    params, batch_stats = parallel.replicate(weights, mesh)
    return partial(parallel.parallel_rows(step, mesh), params, batch_stats)


def score_step(
    params: Tree,
    batch_stats: Tree,
    images: UInt8[Array, "rows views height width channels"],
    *,
    graphdef: nnx.GraphDef,
    normalize: Callable[[jax.Array], jax.Array],
    mirrored: bool,
    finish: Callable[[jax.Array], jax.Array],
) -> Float[Array, "rows classes"]:
    """Applies `finish` to the logits of all views of an image, and their mirror images, and averages the results.

    The normalized views are mirrored, as in training.
    """
    rows, views = images.shape[:2]
    x = normalize(images.reshape(rows * views, *images.shape[2:]))
    if mirrored:
        x = jnp.stack([x, x[:, :, ::-1]], axis=1).reshape(-1, *x.shape[1:])
    model: Any = nnx.merge(graphdef, params, batch_stats)
    results = finish(model(x).astype(jnp.float32))
    return results.reshape(rows, -1, results.shape[-1]).mean(axis=1)


def _scores(network: TrainedModel, protocol: TestProtocol) -> str:
    return protocol.scores or network.spec.scores


def _pairs(logits: Float[Array, "batch logits"]) -> Float[Array, "batch classes"]:
    """One logit per class: a single logit is that of the second of two classes."""
    return jnp.concatenate([-logits, logits], axis=-1) if logits.shape[-1] == 1 else logits


def _to_probabilities(
    logits: Float32[np.ndarray, "count classes"], network: TrainedModel, protocol: TestProtocol
) -> None:
    """Replaces mean logits, from `_pairs`, by probabilities, in place."""
    first = 1 if network.spec.num_logits == 1 else 0
    for start in range(0, len(logits), _FINISHED_AT_ONCE):
        block = logits[start : start + _FINISHED_AT_ONCE]
        block[:] = probabilities(jnp.asarray(block[:, first:]), _scores(network, protocol))


class _Means:
    """Averages the results of each image over the scales.

    Results may arrive in any order; the mean is taken in the order of the scales once all are there, so it does not
    depend on the order. Few images wait for more scales: those in batches that are not full yet.
    """

    def __init__(self, *, scales: int):
        self._scales = scales
        self._parts: dict[tuple[int, int], dict[int, np.ndarray]] = {}

    def add(
        self, network: int, scale: int, indices: Sequence[int], results: jax.Array
    ) -> Iterator[tuple[int, int, Float32[np.ndarray, "classes"]]]:
        """Adds the results of a batch, whose rows after the last index are padding.

        Yields:
            (network, index, mean) of each image of which all scales are there now.
        """
        for index, row in zip(indices, np.asarray(results), strict=False):
            parts = self._parts.setdefault((network, index), {})
            parts[scale] = row.copy()  # a view would keep the whole batch in memory
            if len(parts) == self._scales:
                del self._parts[network, index]
                ordered = [parts[number] for number in range(self._scales)]
                yield network, index, np.asarray(np.mean(ordered, axis=0, dtype=np.float64), np.float32)

    def check(self) -> None:
        """Call at the end: raises RuntimeError if an image lacks a scale."""
        if self._parts:
            raise RuntimeError(f"{len(self._parts)} images lack a scale: a batch was lost")
