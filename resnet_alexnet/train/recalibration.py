"""Precise BN: exact batch normalization statistics for a trained network, in place of its moving averages."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Generator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from resnet_alexnet import losses, metrics, models, parallel
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.photos import PhotoSource, watch_unreadable
from resnet_alexnet.data.sources import ProgressFn, Source, Splits, no_progress
from resnet_alexnet.errors import InputError
from resnet_alexnet.models.stacked import stack, unstack
from resnet_alexnet.paths import Tree
from resnet_alexnet.pretrained.network import TrainedModel
from resnet_alexnet.train import steps
from resnet_alexnet.train.model import check_batch_norm
from resnet_alexnet.train.steps import DTYPES
from resnet_alexnet.train.validation import evaluate

Chunk = dict[str, np.ndarray]
# With these options each layer stores the statistics of the current batch, over the images of all devices.
EXACT = {"bn_group": "sync", "bn_momentum": 0.0, "bn_unbiased_variance": False}


def recalibrate(
    network: TrainedModel,
    source: Source,
    *,
    preprocess: steps.PreprocessFn,
    batch_size: int,
    seed: int = 0,
    workers: int = 0,
    max_unreadable: int = 0,
    mesh: parallel.Mesh,
    progress: ProgressFn = no_progress,
    report: Callable[[str], None] = print,
) -> TrainedModel:
    """Recalibrates batch normalization: mean and variance of every layer over one pass through the training set.

    The order is random, because sorted classes would make batches of one class. Each batch goes through the network as
    in training, normalized by its own statistics. The results are averages over batches, weighted by their number of
    images: mean = E[mean_b], var = E[var_b + mean_b^2] - mean^2. At the first layer these are the statistics of all
    pixels. The last batch may be smaller; it runs on as many devices as divide it evenly.

    Args:
        network: the trained network. Its weights do not change.
        source: the training set; for photographs, `gather` with a draw returns the training crops.
        preprocess: normalizes and augments a batch.
        batch_size: images per batch over all devices, a multiple of their number. Larger is more precise.
        seed: of the order and the augmentation.
        workers: processes that read photographs, see `loader.train_chunks`.
        max_unreadable: photographs that may be unreadable, see `loader.train_chunks`; counted separately in the last,
            smaller batch.
        mesh: the devices; the result does not depend on their number.
        progress: shows the progress.
        report: called with a line for each photograph that cannot be read.

    Returns:
        The network with new batch_stats.

    Raises:
        InputError: the network has no batch normalization, or `loader.train_chunks` raises it.

    Source: the residual networks published by He, whose statistics are averages after training, not moving averages.
    """
    check_has_batch_norm(network)
    count, rest = divmod(len(source), batch_size)
    graphdef, params, batch_stats = network.stacked(**EXACT)
    part = parallel.create_mesh(list(mesh.devices.flat[: math.gcd(rest, mesh.size)]))  # for the last, smaller batch
    for images, devices in [(batch_size, mesh)] * (count > 0) + [(rest, part)] * (rest > 0):
        check_batch_norm(network.spec, network.spec.stacked(**EXACT), devices, images)
    add = partial(_add_batch, graphdef=graphdef, preprocess=preprocess, seed=seed, axis_name=parallel.AXIS)
    params = parallel.replicate(params, mesh)
    zeros = jax.tree.map(np.zeros_like, batch_stats)
    sums = parallel.replicate({"stats": zeros, "images": np.zeros((), np.float32)}, mesh)
    step = parallel.parallel_sums(add, mesh)
    batches = _whole_batches(
        source, count, batch_size=batch_size, seed=seed, workers=workers, most=max_unreadable, report=report, mesh=mesh
    )

    def accumulate(number: int, batch: steps.Batch) -> None:
        nonlocal sums
        sums = step(params, sums, number, batch)

    with contextlib.closing(batches):
        for _ in parallel.run_batches(accumulate, enumerate(progress(batches, count, "batch statistics")), mesh):
            pass
    if rest:
        batch = source.gather(loader.epoch_order(len(source), seed=seed, epoch=0)[-rest:], (seed, 0))
        if isinstance(source, PhotoSource):
            ((_, batch),) = watch_unreadable([(count, batch)], source, most=max_unreadable, report=report)
        params, sums = (parallel.replicate(jax.device_get(tree), part) for tree in (params, sums))
        sums = parallel.parallel_sums(add, part)(params, sums, count, parallel.split_batch(batch, part))
    return dataclasses.replace(network, batch_stats=stack(unstack(jax.device_get(sums["stats"])), network.batch_stats))


def check_has_batch_norm(network: TrainedModel) -> None:
    """Raises InputError if a network has no batch normalization, or one without the options that this needs."""
    if not jax.tree.leaves(network.batch_stats):
        raise InputError(f"{network.spec.model} has no batch normalization, so there is nothing to recalibrate")
    if lacking := EXACT.keys() - set(models.model_options(network.spec.model)):
        names = ", ".join(sorted(lacking))
        raise InputError(f"{network.spec.model} cannot be recalibrated: it has no {names} (needed: ResNet's options)")


def _whole_batches(
    source: Source,
    count: int,
    *,
    batch_size: int,
    seed: int,
    workers: int,
    most: int,
    report: Callable[[str], None],
    mesh: parallel.Mesh,
) -> Generator[Chunk, None, None]:
    """Yields the first epoch without its last batch, if that is smaller."""
    if not count:
        return
    chunks = loader.train_chunks(
        source,
        batch_size=batch_size,
        seed=seed,
        start_step=0,
        num_steps=count,
        rows=parallel.process_rows(batch_size, mesh),
        workers=workers,
        max_unreadable=most,
        report=report,
    )
    with contextlib.closing(chunks):
        for _, chunk in chunks:
            yield {name: array[0] for name, array in chunk.items()}


def _add_batch(
    params: Tree,
    sums: Tree,
    number: Float[Array, ""],
    batch: steps.Batch,
    *,
    graphdef: nnx.GraphDef,
    preprocess: steps.PreprocessFn,
    seed: int,
    axis_name: str,
) -> Tree:
    """Adds a batch to the mean and variance of every layer over all images so far."""
    local = batch["image"].shape[0]
    rows = lax.axis_index(axis_name) * local + jnp.arange(local)
    augment_keys, model_keys, mix_keys = steps.image_keys(seed, number, rows)
    image, _ = preprocess(batch, augment_keys, mix_keys)
    model = nnx.merge(graphdef, params, sums["stats"], copy=True)
    model(image, train=True, rngs=model_keys)
    new = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
    images = sums["images"] + local * lax.axis_size(axis_name)
    share = (images - sums["images"]) / images
    return {"stats": _merge(sums["stats"], new, share), "images": images}


def _merge(old: Tree, new: Tree, share: Float[Array, ""]) -> Tree:
    """Merges the means and variances of two sets, of which the new one has `share` of the images.

    Source: Chan, Golub and LeVeque 1983: equal to E[x^2] - mean^2, without the loss of precision in float32.
    """
    if "var" not in old:
        return {name: _merge(old[name], new[name], share) for name in old}
    delta = new["mean"] - old["mean"]
    mean = old["mean"] + share * delta
    var = old["var"] + share * (new["var"] - old["var"]) + share * (1 - share) * jnp.square(delta)
    return {"mean": mean, "var": var}


def with_test_crops(source: Source) -> Source:
    """A copy of the source that uses the test crops for training."""
    return dataclasses.replace(source, train_crop=source.test_crop) if isinstance(source, PhotoSource) else source


def error_rates(
    networks: Sequence[TrainedModel], splits: Splits, *, batch_size: int, precision: str, mesh: parallel.Mesh
) -> dict[str, list[float]]:
    """The top-1 errors in percent, by split, of networks that differ only in their weights.

    `batch_size` is rounded up to a multiple of the number of devices. The results do not depend on it.
    """
    spec = networks[0].spec
    name = "softmax_cross_entropy" if spec.scores == "softmax" else "binary_cross_entropy_with_logits"
    step = partial(
        steps.eval_step,
        graphdef=spec.stacked()[0],
        measure=partial(metrics.loss_and_error_sums, loss=losses.create_loss(name)),
        normalize=partial(spec.preprocessing.normalize, dtype=DTYPES[precision]),
        axis_name=parallel.AXIS,
    )
    eval_step = parallel.parallel_eval_step(step, mesh)
    batch_size = math.ceil(batch_size / mesh.size) * mesh.size

    def error(network: TrainedModel, source: Source) -> float:
        params, batch_stats = parallel.replicate(network.stacked()[1:], mesh)
        return evaluate(eval_step, params, batch_stats, source, batch_size=batch_size, mesh=mesh)["top1_error"]

    sources = {"validation": splits.validation, "test": splits.test}
    return {
        split: [error(network, source) for network in networks]
        for split, source in sources.items()
        if source is not None
    }
