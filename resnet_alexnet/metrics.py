"""Loss and errors from masked sums, so that each image counts once for any batch size.

Sums are computed per batch and added over batches and devices; one division at the end gives the metrics.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from resnet_alexnet.errors import InputError

Sums = dict[str, Float[Array, ""]]
ArrayT = TypeVar("ArrayT", np.ndarray, Array)


def _has_top5(num_classes: int) -> bool:
    """Whether the top-5 error is reported: with fewer than five classes it has no meaning."""
    return num_classes >= 5


def label_rank(scores: Float[ArrayT, "batch classes"], labels: Int[ArrayT, "batch"]) -> Int[ArrayT, "batch"]:
    """Counts the classes that rank before the label, for numpy and jax arrays.

    On ties the lower class comes first, as in `jax.lax.top_k`. If a row has a NaN, or its label is not a class, all
    classes rank before the label.

    Args:
        scores: logits or probabilities.
        labels: class numbers.
    """
    xp = scores.__array_namespace__()
    num_classes = scores.shape[-1]
    label_score = xp.take_along_axis(scores, xp.clip(labels, 0, num_classes - 1)[:, None], axis=-1)
    lower_class = xp.arange(num_classes) < labels[:, None]
    before = (scores > label_score) | ((scores == label_score) & lower_class)
    valid = ~xp.isnan(scores).any(axis=-1) & (labels >= 0) & (labels < num_classes)
    return xp.where(valid, before.sum(axis=-1), num_classes)


def top_errors(
    scores: Float[ArrayT, "batch classes"], labels: Int[ArrayT, "batch"]
) -> dict[str, Bool[ArrayT, "batch"]]:
    """Whether each image is misclassified: "top1" and, for five classes or more, "top5"; see `label_rank`."""
    rank = label_rank(scores, labels)
    # A row without a valid rank is an error even with five classes, where all are in the top 5.
    return {"top1": rank >= 1} | ({"top5": rank >= 5} if _has_top5(scores.shape[-1]) else {})


def _errors(logits: Float[Array, "batch classes"], labels: Num[Array, "..."]) -> dict[str, Bool[Array, "batch"]]:
    """Whether each image is misclassified, by the names of the sums."""
    if logits.shape[-1] == 1:
        # NaN > 0 is false, which would count as correct for label 0.
        logit, is_positive = logits[:, 0], labels.reshape(-1) > 0.5
        return {"top1_errors": ((logit > 0) != is_positive) | jnp.isnan(logit)}
    if labels.ndim == 2:
        labels = labels.argmax(axis=-1)
    return {f"{name}_errors": wrong for name, wrong in top_errors(logits, labels).items()}


def batch_sums(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, "batch"] | Float[Array, "batch classes"],
    mask: Num[Array, "batch"] | Bool[Array, "batch"],
    losses: Float[Array, "batch"],
) -> Sums:
    """Float32 sums over the images of a batch: "count", "loss", "top1_errors", "top5_errors".

    Masked rows add exactly 0, for any logits and losses. An image with a NaN in its logits is an error. On ties the
    lower class comes first, as in `jax.lax.top_k`.

    Args:
        logits: logits; one column is a binary task, whose prediction is positive if the logit is above 0.
        labels: class numbers, or rows of class weights, whose largest is the class.
        mask: true for an image, false for padding.
        losses: one loss per image, from a function of `losses.create_loss`.

    Returns:
        Scalars; "top5_errors" only for five classes or more.

    Raises:
        InputError: the shapes do not match.
    """
    batch = logits.shape[:1]
    if logits.ndim != 2 or mask.shape != batch or losses.shape != batch or labels.shape not in (batch, logits.shape):
        raise InputError(
            f"logits {logits.shape}, labels {labels.shape}, mask {mask.shape} and losses {losses.shape} do not match "
            "(allowed: (batch, classes), (batch,) or (batch, classes), (batch,) and (batch,))"
        )
    mask = mask.astype(bool)
    rows = {"count": jnp.ones(batch), "loss": losses, **_errors(logits, labels)}
    # where, not a product, because 0 * NaN is NaN.
    return {name: jnp.where(mask, row.astype(jnp.float32), 0.0).sum() for name, row in rows.items()}


def loss_and_error_sums(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, "batch"],
    mask: Bool[Array, "batch"],
    *,
    loss: Callable[[Array, Array], Float[Array, "batch"]],
) -> Sums:
    """`batch_sums` with a loss function: (logits, labels) -> one loss per image."""
    return batch_sums(logits, labels, mask, loss(logits, labels))


def zero_sums(num_classes: int) -> Sums:
    """Zero sums, with the keys and dtypes of `batch_sums` for `num_classes`."""
    names = ["count", "loss", "top1_errors"] + ["top5_errors"] * _has_top5(num_classes)
    return {name: jnp.zeros((), jnp.float32) for name in names}


def add_sums(a: Sums, b: Sums) -> Sums:
    """Adds the sums of two disjoint sets of images."""
    return jax.tree.map(jnp.add, a, b)


def error_rates(sums: Sums) -> dict[str, float]:
    """The mean "loss" (nats), "top1_error" and, for five classes or more, "top5_error" (both in percent).

    Raises:
        InputError: no image was counted.
    """
    count = float(sums["count"])
    if count == 0:
        raise InputError("no image was counted: the set is empty or all rows are masked")
    values = {"loss": float(sums["loss"]) / count, "top1_error": 100.0 * float(sums["top1_errors"]) / count}
    if "top5_errors" in sums:
        values["top5_error"] = 100.0 * float(sums["top5_errors"]) / count
    return values
