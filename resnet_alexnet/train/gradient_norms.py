"""The norm of the gradient of the training loss at each parameter."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from resnet_alexnet import parallel
from resnet_alexnet.paths import Tree, leaf_name, partition
from resnet_alexnet.pretrained.network import TrainedModel
from resnet_alexnet.train import steps
from resnet_alexnet.train.model import Model


def create_gradient_norms(
    model: Model,
    batch: dict[str, np.ndarray],
    *,
    loss: steps.LossFn,
    preprocess: steps.PreprocessFn,
    seed: int,
    mesh: parallel.Mesh,
) -> Callable[[TrainedModel], tuple[float, dict[str, float]]]:
    """Creates the function that measures the gradient of a batch. It is compiled once.

    All is as in the first step of a run: augmentation, dropout, and the statistics of the batch. Weight decay is not
    part of the loss.

    Args:
        model: the network of the run, which says what is frozen.
        batch: {"image", "label"}, whose rows are a multiple of the devices.
        loss: logits and labels -> one loss per image.
        preprocess: rows -> images and labels.
        seed: of augmentation and dropout.
        mesh: the devices.

    Returns:
        (network) -> the mean loss, and the L2 norm of its gradient at each parameter that is trained, by the name of
        the parameter, such as stages/0/0/conv1/conv/kernel.
    """

    def step(params: Tree, batch_stats: Tree, batch: steps.Batch) -> tuple[jax.Array, Any]:
        images = batch["image"].shape[0]
        rows = lax.axis_index(parallel.AXIS) * images + jnp.arange(images)
        frozen, trained = partition(params, model.is_frozen)
        (value, _, grads), _ = steps.gradients(
            (batch, *steps.image_keys(seed, jnp.int32(0), rows)),
            trained=lax.pcast(trained, parallel.AXIS, to="varying"),
            frozen=frozen,
            batch_stats=batch_stats,
            graphdef=model.graphdef,
            loss=loss,
            preprocess=preprocess,
            is_frozen=model.is_frozen,
        )
        value, grads = lax.pmean((value, grads), parallel.AXIS)
        return value, jax.tree.map(lambda gradient: jnp.sqrt(jnp.square(gradient).sum()), grads)

    called = parallel.parallel_eval_step(step, mesh)

    def measure(network: TrainedModel) -> tuple[float, dict[str, float]]:
        params, batch_stats = (parallel.replicate(tree, mesh) for tree in (network.params, network.batch_stats))
        value, norms = jax.device_get(called(params, batch_stats, parallel.split_batch(batch, mesh)))
        return float(value), {leaf_name(path): float(norm) for path, norm in jax.tree_util.tree_leaves_with_path(norms)}

    return measure
