"""Networks with random weights and statistics, as if they had been trained; nothing is compiled to make them."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from resnet_alexnet import pretrained
from resnet_alexnet.models import create_model
from resnet_alexnet.paths import leaf_name
from resnet_alexnet.pretrained import torchvision
from resnet_alexnet.pretrained.network import ModelSpec, TrainedModel
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.pretrained.state_dict import WeightFile
from tests.support.trees import assert_same_leaves

CLASSES = ("ant", "bee", "cat")
TORCH_OPTIONS = {"activation": "relu", "shortcut": "A", "shortcut_padding": "both"}  # of a CIFAR ResNet in torch
_NUMBERS = 1_000_003  # that are drawn for one array; a larger one repeats them


def random_weights(shapes: Any, *, seed: int = 0) -> Any:
    """Weights of these shapes: kernels keep the scale of their input, variances are positive."""
    rng = np.random.default_rng(seed)

    def fill(path: tuple, leaf: Any) -> np.ndarray:
        name = leaf_name(path).rsplit("/", 1)[-1]
        count = min(leaf.size, _NUMBERS)
        if name == "kernel":
            fan_in = leaf.size // leaf.shape[-1] // (leaf.shape[0] if len(leaf.shape) == 5 else 1)
            values = rng.standard_normal(count, np.float32) * np.sqrt(2 / fan_in)
        elif name in ("scale", "var"):
            values = rng.uniform(0.7, 1.3, count)
        else:
            values = 0.1 * rng.standard_normal(count)
        return np.resize(values.astype(np.float32), leaf.shape)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def initialized(model: str, *, num_classes: int = 10, image_size: int, **options: Any) -> Any:
    """The module as its initializers draw it, with the random numbers that compile fastest."""
    rngs = nnx.Rngs(jax.random.key(0, impl="rbg"))
    return create_model(model, num_classes=num_classes, image_size=image_size, rngs=rngs, **options)


def create_network(
    model: str = "cifar_resnet8",
    *,
    size: int = 16,
    channels: int = 3,
    classes: Sequence[str] = CLASSES,
    num_classes: int | None = None,
    scores: str = "softmax",
    shorter_side: int | None = None,
    interpolation: str = "bilinear_antialiased",
    mean: np.ndarray | None = None,
    std: float | tuple[float, ...] = 60.0,
    seed: int = 0,
    **options: Any,
) -> TrainedModel:
    """A network of random weights; the mean is an image of its own unless one is given."""
    if mean is None:
        mean = np.random.default_rng(seed).uniform(80, 160, (size, size, channels)).astype(np.float32)
    stds = np.full(channels, std, np.float32)
    preprocessing = Preprocessing(size, channels, mean, stds, tuple(classes), shorter_side, interpolation)
    spec = ModelSpec(model, options, num_classes or len(classes), scores, preprocessing)
    return TrainedModel(spec, **random_weights(spec.shapes(), seed=seed))


def published(model: str = "cifar_resnet8", num_classes: int = 10) -> WeightFile:
    """Weights as others publish them: in their names, without a description."""
    layout = torchvision.layout(model, 224)
    network = create_network(model, size=32, num_classes=num_classes, **layout.options)
    return WeightFile({"": pretrained.mapping.to_theirs(layout.table, network.leaves())}, {})


def assert_same_network(network: TrainedModel, expected: TrainedModel) -> None:
    """The same to the bit, and described alike."""
    assert network.spec.to_json() == expected.spec.to_json()
    assert_same_leaves(network.leaves(), expected.leaves())
