"""Error rates while training: every image of a split once, whatever the batch size and the number of devices."""

from collections.abc import Callable

import jax

from resnet_alexnet import metrics, parallel
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.sources import Source
from resnet_alexnet.train.state import TrainState


def evaluate(
    eval_step: Callable[..., metrics.Sums], state: TrainState, source: Source, *, batch_size: int, mesh: parallel.Mesh
) -> dict[str, float]:
    """Loss and error rates of the state's network on all of `source`.

    Args:
        eval_step: as `parallel.parallel_eval_step` gives it.
        state: its parameters and running statistics are used, or their moving average where it keeps one.
        source: the images.
        batch_size: images a step over all devices; the last batch is padded and masked.
        mesh: the devices.

    Returns:
        "loss", "top1_error" and, with five classes or more, "top5_error"; errors in percent.
    """
    params, batch_stats = state.evaluated()
    sums = None
    for batch in loader.eval_batches(source, batch_size=batch_size, rows=parallel.process_rows(batch_size)):
        part = eval_step(params, batch_stats, parallel.split_batch(batch, mesh))
        sums = part if sums is None else metrics.add_sums(sums, part)
    sums = jax.device_get(sums)
    if sums is None or int(sums["count"]) != len(source):
        raise RuntimeError(f"{len(source)} images to evaluate, {sums and int(sums['count'])} counted")
    return metrics.error_rates(sums)
