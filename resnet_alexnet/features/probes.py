"""Probes of features: how well a linear classifier and nearest neighbors tell the classes apart at each stage."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Float32, Int

from resnet_alexnet.features.extraction import INPUT, FeatureLayer, find_layer
from resnet_alexnet.features.signals import weight_layers
from resnet_alexnet.paths import Tree
from resnet_alexnet.pretrained.network import TrainedModel

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # on half the sum of the squared weights, beside the mean loss
_MOST_STEPS = 500
_SMALL_GRADIENT = 1e-4  # norm at which a solution is reached; the loss is in nats
_QUERIES = 256  # images whose neighbors are searched at a time


class Examples(NamedTuple):
    """Features and labels of the images of a split."""

    features: Float32[np.ndarray, "images features"]
    labels: Int[np.ndarray, "images"]


def find_stages(network: TrainedModel) -> dict[str, FeatureLayer]:
    """The output of each stage of a network but the classifier, in order, averaged over positions.

    A stage is a module of the network that has weights, or an entry of one that is a list: stem, stages.0 and so on of
    a residual network, conv1 to fc7 of AlexNet. Its output is what the first layer of the next stage takes: behind
    activation, normalization and pooling. The last one is the penultimate layer.
    """
    first: dict[str, str] = {}
    for layer in weight_layers(network.spec):
        names = layer.path.split(".")
        stage = ".".join(names[: 2 if names[1:] and names[1].isdecimal() else 1])
        first.setdefault(stage, layer.path)
    stages, nexts = list(first)[:-1], list(first.values())[1:]
    return {stage: find_layer(network, path + INPUT, pool="mean") for stage, path in zip(stages, nexts, strict=True)}


def probe(train: Examples, validation: Examples, test: Examples, *, num_classes: int, k: int) -> dict[str, Any]:
    """Probes the features of one stage. They are standardized by the mean and deviation of the training images.

    Args:
        train: what the probes learn from.
        validation: by whose accuracy the penalty of the linear probe is chosen; of equal ones the largest.
        test: whose accuracy is reported.
        num_classes: the number of classes.
        k: the neighbors that vote.

    Returns:
        JSON values: "features", their number; "linear" with "accuracy", "validation_accuracy" and "train_accuracy", and
        "l2", the penalty that was chosen; and "knn" with "accuracy". Accuracies are in percent.
    """
    mean, std = train.features.mean(0, dtype=np.float64), train.features.std(0, dtype=np.float64)
    std[std == 0] = 1  # of a unit that is never active
    train, validation, test = (
        Examples(((part.features - mean) / std).astype(np.float32), part.labels) for part in (train, validation, test)
    )
    weights = {
        "kernel": jnp.zeros((train.features.shape[1], num_classes)),
        "bias": jnp.zeros(num_classes),
    }
    best: dict[str, Any] = {}
    for l2 in PENALTIES:
        weights = fit(weights, train.features, train.labels, l2)
        on_train, on_validation, on_test = (
            _accuracy(np.asarray(_logits(weights, jnp.asarray(part.features))).argmax(1), part.labels)
            for part in (train, validation, test)
        )
        if on_validation > best.get("validation_accuracy", -1):
            best = {"accuracy": on_test, "validation_accuracy": on_validation, "train_accuracy": on_train, "l2": l2}
    voted = vote(train, test.features, num_classes=num_classes, k=k)
    return {
        "features": train.features.shape[1],
        "linear": best,
        "knn": {"accuracy": _accuracy(voted, test.labels)},
    }


def _accuracy(predictions: Int[np.ndarray, "images"], labels: Int[np.ndarray, "images"]) -> float:
    return 100 * float(np.mean(predictions == labels))


def _logits(weights: Tree, features: Float[Array, "images features"]) -> Float[Array, "images classes"]:
    return jnp.dot(features, weights["kernel"], precision=lax.Precision.HIGHEST) + weights["bias"]


@jax.jit
def fit(
    weights: Tree, features: Float[Array, "images features"], labels: Int[Array, "images"], l2: Float[Array, ""]
) -> Tree:
    """Multinomial logistic regression: {"kernel", "bias"} with the lowest mean loss plus penalty, by L-BFGS.

    The penalty is l2 / 2 times the sum of the squares of the kernel. The solution is unique but for a shift of all
    biases, so `weights` only say where the search starts.
    """

    def loss(weights: Tree) -> Float[Array, ""]:
        losses = optax.softmax_cross_entropy_with_integer_labels(_logits(weights, features), labels)
        return losses.mean() + l2 / 2 * jnp.square(weights["kernel"]).sum()

    solver = optax.lbfgs()
    value_and_gradient = optax.value_and_grad_from_state(loss)

    def is_going_on(carry: tuple[Tree, Any]) -> Array:
        count, gradient = (optax.tree.get(carry[1], name) for name in ("count", "grad"))
        return (count == 0) | ((count < _MOST_STEPS) & (optax.tree.norm(gradient) > _SMALL_GRADIENT))

    def step(carry: tuple[Tree, Any]) -> tuple[Tree, Any]:
        weights, state = carry
        value, gradient = value_and_gradient(weights, state=state)
        updates, state = solver.update(gradient, state, weights, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(weights, updates), state

    return lax.while_loop(is_going_on, step, (weights, solver.init(weights)))[0]


def vote(
    train: Examples, queries: Float32[np.ndarray, "queries features"], *, num_classes: int, k: int
) -> Int[np.ndarray, "queries"]:
    """The class of most of the k training images whose features have the largest cosine with those of a query.

    Of classes with equally many votes it is the first.
    """
    among, labels = jnp.asarray(_unit(train.features)), jnp.asarray(train.labels)
    count = min(k, len(labels))
    batch = partial(_vote, among=among, labels=labels, num_classes=num_classes, k=count)
    size = min(_QUERIES, len(queries))
    padded = np.pad(_unit(queries), ((0, -len(queries) % size), (0, 0)))  # so that one program is compiled
    parts = [np.asarray(batch(part)) for part in padded.reshape(-1, size, padded.shape[1])]
    return np.concatenate(parts)[: len(queries)]


def _unit(features: Float32[np.ndarray, "images features"]) -> Float32[np.ndarray, "images features"]:
    """Features divided by their length."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)


@partial(jax.jit, static_argnames=("num_classes", "k"))
def _vote(
    queries: Float[Array, "queries features"],
    among: Float[Array, "images features"],
    labels: Int[Array, "images"],
    *,
    num_classes: int,
    k: int,
) -> Int[Array, "queries"]:
    _, nearest = lax.top_k(jnp.dot(queries, among.T, precision=lax.Precision.HIGHEST), k)
    return jax.nn.one_hot(labels[nearest], num_classes).sum(1).argmax(1)
