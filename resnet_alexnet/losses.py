"""Classification losses: softmax and binary cross-entropy, of probabilities and of logits.

The functions are jitted with a static `reduction`. They take any floating dtype and compute in float32.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from resnet_alexnet.errors import InputError, check_name

_BINARY_REDUCTIONS = ("mean", "sum_classes", "none")
_SOFTMAX_REDUCTIONS = ("mean", "none")
# The value of log(0), near the log of the smallest float32, as in torch's binary_cross_entropy.
_SMALLEST_LOG = -100.0
# The smallest p in 1 / p, so that a saturated wrong prediction has a large but finite gradient.
_SMALLEST_DIVISOR = 1e-12


def _float32(*arrays: Num[Array, "..."]) -> list[Float[Array, "..."]]:
    """The arrays in float32."""
    return [jnp.asarray(array, jnp.float32) for array in arrays]


def _check_same_shape(name: str, values: Num[Array, "..."], labels: Num[Array, "..."]) -> None:
    """Raises InputError if the shapes differ, so that labels are never broadcast, such as (n,) against (n, 1)."""
    if jnp.shape(values) != jnp.shape(labels):
        raise InputError(
            f"labels have shape {jnp.shape(labels)}, but {name} have shape {jnp.shape(values)} (allowed: equal shapes; "
            "losses.targets turns integer labels into one column per class, labels[:, None] adds a column)"
        )


def _reduce_binary(elementwise: Float[Array, "..."], reduction: str) -> Float[Array, "..."]:
    """Reduces element-wise losses; a 1-D array has one class."""
    if reduction == "none":
        return elementwise
    if reduction == "sum_classes" and elementwise.ndim > 1:
        elementwise = elementwise.sum(axis=-1)
    return elementwise.mean()


@jax.custom_jvp
def _probability_loss(probabilities: Float[Array, "..."], labels: Float[Array, "..."]) -> Float[Array, "..."]:
    """Element-wise -[y log p + (1 - y) log(1 - p)]; value and gradient are finite at 0 and 1."""
    log_p = jnp.maximum(jnp.log(probabilities), _SMALLEST_LOG)
    log_not_p = jnp.maximum(jnp.log1p(-probabilities), _SMALLEST_LOG)
    return -(labels * log_p + (1.0 - labels) * log_not_p)


@_probability_loss.defjvp
def _probability_loss_jvp(primals, tangents):
    # Automatic differentiation multiplies the 0 of the clipped logarithm by 1/0, which gives NaN. Clipping p instead
    # would give a confident wrong prediction no gradient.
    probabilities, labels = primals
    probabilities_dot, labels_dot = tangents
    by_probability = (1.0 - labels) / jnp.maximum(1.0 - probabilities, _SMALLEST_DIVISOR)
    by_probability -= labels / jnp.maximum(probabilities, _SMALLEST_DIVISOR)
    loss_of_one = _probability_loss(probabilities, jnp.ones_like(labels))
    loss_of_zero = _probability_loss(probabilities, jnp.zeros_like(labels))
    tangent = by_probability * probabilities_dot + (loss_of_one - loss_of_zero) * labels_dot
    return _probability_loss(probabilities, labels), tangent


@functools.partial(jax.jit, static_argnames="reduction")
def binary_cross_entropy(
    probabilities: Float[Array, "*batch classes"],
    labels: Num[Array, "*batch classes"],
    *,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Binary cross-entropy -[y log p + (1 - y) log(1 - p)] of probabilities, in nats.

    Use `binary_cross_entropy_with_logits` if there are logits: near p = 1, 1 - p is rounded in float32. Logarithms are
    clipped at -100, so a certain wrong prediction costs 100.

    Args:
        probabilities: in [0, 1]; other values give NaN.
        labels: 0, 1 or values between (soft or multi-label targets), of the same shape as the probabilities.
        reduction: "mean" over all elements; "sum_classes", the sum over the last axis and the mean over the rest (equal
            to "mean" for a 1-D input, which has one class); "none", element-wise.

    Raises:
        InputError: the shapes differ, or the reduction is unknown.
    """
    check_name("reduction", reduction, _BINARY_REDUCTIONS)
    _check_same_shape("probabilities", probabilities, labels)
    return _reduce_binary(_probability_loss(*_float32(probabilities, labels)), reduction)


@functools.partial(jax.jit, static_argnames="reduction")
def binary_cross_entropy_with_logits(
    logits: Float[Array, "*batch classes"],
    labels: Num[Array, "*batch classes"],
    *,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Binary cross-entropy -[y logsigmoid(z) + (1 - y) logsigmoid(-z)] of logits, in nats.

    Args:
        logits: any real numbers; the loss is exact even if the sigmoid rounds to 0 or 1.
        labels: 0, 1 or values between (soft or multi-label targets), of the same shape as the logits.
        reduction: "mean" over all elements; "sum_classes", the sum over the last axis and the mean over the rest (equal
            to "mean" for a 1-D input, which has one class); "none", element-wise.

    Raises:
        InputError: the shapes differ, or the reduction is unknown.

    Departure: both papers train with softmax; logistic units are from the author's code of the one-column AlexNet.
    """
    check_name("reduction", reduction, _BINARY_REDUCTIONS)
    _check_same_shape("logits", logits, labels)
    logits, labels = _float32(logits, labels)
    log_likelihood = labels * jax.nn.log_sigmoid(logits) + (1.0 - labels) * jax.nn.log_sigmoid(-logits)
    return _reduce_binary(-log_likelihood, reduction)


@functools.partial(jax.jit, static_argnames="reduction")
def softmax_cross_entropy(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, "batch"] | Num[Array, "batch classes"],
    *,
    reduction: str = "mean",
) -> Float[Array, "..."]:
    """Softmax cross-entropy -sum_k y_k log softmax(z)_k, in nats.

    Args:
        logits: at least two classes.
        labels: class numbers, or one row of class weights per image (one-hot or soft).
        reduction: "mean" over the images, or "none" for one loss per image.

    Raises:
        InputError: the labels have neither form, there is only one class, or the reduction is unknown.

    Source: [K12] section 3.5 "maximizes the multinomial logistic regression objective"; [H15] section 3.3.
    """
    check_name("reduction", reduction, _SOFTMAX_REDUCTIONS)
    if logits.ndim != 2 or logits.shape[-1] < 2:
        raise InputError(
            f"softmax_cross_entropy got logits of shape {logits.shape} (allowed: (batch, classes) with 2 classes or "
            "more; use binary_cross_entropy_with_logits for a single logit)"
        )
    is_class_number = jnp.issubdtype(labels.dtype, jnp.integer) and labels.shape == logits.shape[:1]
    if not is_class_number:
        _check_same_shape("logits", logits, labels)
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
    if is_class_number:
        # "fill" gives NaN for a class number out of range, where clamping would train on a wrong class; -1 included.
        index = jnp.where(labels < 0, logits.shape[-1], labels)
        picked = jnp.take_along_axis(log_probabilities, index[:, None], axis=-1, mode="fill")
        losses = -picked[:, 0]
    else:
        losses = -(labels.astype(jnp.float32) * log_probabilities).sum(axis=-1)
    return losses if reduction == "none" else losses.mean()


def targets(labels: Int[Array, "batch"], num_classes: int) -> Float[Array, "batch columns"]:
    """Converts class numbers to float32 targets: one-hot rows, or a column of 0 and 1 for a single-logit binary task.

    Raises:
        InputError: the labels are not integers of shape (batch,).
    """
    if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise InputError(f"labels are {labels.dtype}{list(labels.shape)} (allowed: integers of shape (batch,))")
    if num_classes == 1:
        return labels[:, None].astype(jnp.float32)
    return jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)


def _binary_cross_entropy_of_sigmoid(
    logits: Float[Array, "batch classes"], labels: Num[Array, "batch classes"], *, reduction: str
) -> Float[Array, "..."]:
    """`binary_cross_entropy` of the sigmoid of the logits, computed in float32."""
    return binary_cross_entropy(jax.nn.sigmoid(logits.astype(jnp.float32)), labels, reduction=reduction)


LOSSES: dict[str, Callable[..., Float[Array, "..."]]] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "binary_cross_entropy": _binary_cross_entropy_of_sigmoid,
}


def create_loss(
    name: str,
    *,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> Callable[[Array, Array], Float[Array, "batch"]]:
    """Creates a function (logits, labels) -> one float32 loss per image.

    The mean of its result over images is the named loss under `reduction`. A training step takes the mean, and an
    evaluation a masked sum. Labels are class numbers of shape (batch,), or float targets of the shape of the logits.

    Args:
        name: one of `LOSSES`; "binary_cross_entropy" is applied to sigmoid(logits).
        reduction: "mean" over the classes, or, for the binary losses, "sum_classes" (larger by the number of classes).
        label_smoothing: the share s of each label that is spread evenly over the K classes, in [0, 1): y becomes
            (1 - s) y + s / K, for softmax and for logistic units. A single logit stands for two classes.
        class_weights: a factor of the loss of each class, two for a single logit; None for 1. A soft label has the mean
            of the losses of its classes, each with its factor, as in torch.

    Raises:
        InputError: name or reduction is unknown, or label_smoothing is out of its range. The function raises it if
            labels and logits do not match.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7.
    """
    check_name("loss.name", name, LOSSES)
    if not 0.0 <= label_smoothing < 1.0:
        raise InputError(f"loss.label_smoothing is {label_smoothing!r} (allowed: at least 0 and below 1; 0 is off)")
    loss = _create_plain_loss(name, reduction)
    if class_weights is not None:
        loss = _weighted(loss, jnp.asarray(class_weights, jnp.float32))
    if not label_smoothing:
        return loss

    def smoothed_loss(logits: Array, labels: Array) -> Float[Array, "batch"]:
        # All of these losses are linear in the label.
        evenly = jnp.full(logits.shape, 1.0 / max(logits.shape[-1], 2))
        return (1.0 - label_smoothing) * loss(logits, labels) + label_smoothing * loss(logits, evenly)

    return smoothed_loss


def _weighted(
    loss: Callable[[Array, Array], Float[Array, "batch"]], weights: Float[Array, "classes"]
) -> Callable[[Array, Array], Float[Array, "batch"]]:
    """The loss of each class times its weight. All of these losses are linear in the label, which may be soft."""

    def weighted_loss(logits: Array, labels: Array) -> Float[Array, "batch"]:
        if labels.ndim == 1:
            return weights[labels] * loss(logits, labels)
        shares = jnp.concatenate([1.0 - labels, labels], axis=-1) if labels.shape[-1] == 1 else labels
        total = shares @ weights
        return total * loss(logits, labels * weights[-labels.shape[-1] :] / total[:, None])

    return weighted_loss


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Class weights with which every class that has images counts alike: n / (K n_k), for n_k of n images in K classes.

    The mean of the weights over the images is 1, so that the learning rate keeps its meaning. A class without images
    has weight 0.

    Source: King and Zeng 2001, "Logistic regression in rare events data"; scikit-learn's class_weight="balanced".
    """
    present = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (present * count) if count else 0.0 for count in counts)


def _create_plain_loss(name: str, reduction: str) -> Callable[[Array, Array], Float[Array, "batch"]]:
    """`create_loss` without label smoothing."""
    if name == "softmax_cross_entropy":
        check_name(f"loss.reduction of {name}", reduction, ("mean",))
        return functools.partial(softmax_cross_entropy, reduction="none")
    over_classes = {"mean": jnp.mean, "sum_classes": jnp.sum}
    check_name(f"loss.reduction of {name}", reduction, over_classes)
    binary_loss = LOSSES[name]

    def loss_per_image(logits: Array, labels: Array) -> Float[Array, "batch"]:
        if labels.ndim == 1:
            labels = targets(labels, logits.shape[-1])
        return over_classes[reduction](binary_loss(logits, labels, reduction="none"), axis=-1)

    return loss_per_image


def chance_loss(name: str, num_classes: int, *, reduction: str = "mean") -> float:
    """The loss of the best constant prediction on balanced classes, in nats: ln(num_classes) for softmax.

    That prediction is 1/K for each of K logistic units, and 1/2 for a single logit. A training loss that stays at this
    value has not begun to fall. Label smoothing and mixing do not change it: averaged over images, each label is still
    1/K.
    """
    if name == "softmax_cross_entropy":
        return math.log(num_classes)
    share = 1 / max(num_classes, 2)
    unit = -share * math.log(share) - (1 - share) * math.log(1 - share)
    return unit * (num_classes if reduction == "sum_classes" else 1)
