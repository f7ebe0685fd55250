"""Metrics of a whole split, in which each image counts once, and what follows from the validation error."""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp

from resnet_alexnet import metrics, parallel
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.sources import Source
from resnet_alexnet.optim.plateau import Plateau
from resnet_alexnet.paths import Tree
from resnet_alexnet.train.state import TrainState


def _no_progress(items: Iterable, length: int, name: str, *, size: Callable[[Any], int]) -> Iterable:
    return items


def evaluate(
    eval_step: Callable[..., metrics.Sums],
    params: Tree,
    batch_stats: Tree,
    source: Source,
    *,
    batch_size: int,
    mesh: parallel.Mesh,
    finish: Callable[[metrics.Sums], dict[str, float]] = metrics.error_rates,
    progress: Callable[..., Iterable] = _no_progress,
    name: str = "images",
) -> dict[str, float]:
    """Evaluates a network on all images of a source.

    Args:
        eval_step: (params, batch_stats, batch) -> sums of the metrics, from `parallel.parallel_eval_step`.
        params: the parameters, replicated on the devices of the mesh.
        batch_stats: the running statistics of batch normalization, replicated as well.
        source: the images.
        batch_size: images per step over all devices, at most; fewer if there are not so many. The last batch is padded
            and masked.
        mesh: the devices.
        finish: computes the metrics from their sums over all images.
        progress: shows the number of images that are done; takes `size` as `cli.progress.progress_bar` does.
        name: what the images are, for `progress`.

    Returns:
        The metrics that `finish` computes: "loss", "top1_error" and, for five classes or more, "top5_error"; errors in
        percent.
    """
    batch_size = parallel.padded_batch_size(batch_size, len(source), mesh)
    batches = loader.eval_batches(source, batch_size=batch_size, rows=parallel.process_rows(batch_size, mesh))
    results = parallel.run_batches(
        lambda _, batch: eval_step(params, batch_stats, batch),
        ((int(batch["mask"].sum()), batch) for batch in batches),
        mesh,
    )
    total = None
    for _, sums in progress(results, len(source), name, size=itemgetter(0)):
        total = sums if total is None else metrics.add_sums(total, sums)
    total = jax.device_get(total)
    if total is None or int(total["count"]) != len(source):
        raise RuntimeError(f"{len(source)} images to evaluate, {total and int(total['count'])} counted")
    return finish(total)


def with_error(state: TrainState, top1_error: float, plateau: Plateau | None) -> TrainState:
    """The state after an evaluation with this validation error; it follows from the error alone.

    Args:
        state: the state before the evaluation.
        top1_error: in percent.
        plateau: the rule that counts the error, if there is one. An evaluation that is due only because the run ends
            does not count: a longer run would not have it.
    """
    error, opt_state = jnp.float32(top1_error), state.opt_state
    if plateau is not None:
        opt_state = plateau.step(opt_state, error)
    return state.replace(opt_state=opt_state, best_error=jnp.minimum(error, state.best_error))
