"""Networks with random weights and statistics, as if they had been trained; nothing is compiled to make them."""

import jax
import numpy as np

from resnet_alexnet.paths import leaf_name
from resnet_alexnet.pretrained.network import ModelSpec, TrainedModel
from resnet_alexnet.pretrained.preprocessing import Preprocessing

CLASSES = ("ant", "bee", "cat")


def create_network(
    model="cifar_resnet8",
    *,
    size=16,
    channels=3,
    classes=CLASSES,
    num_classes=None,
    scores="softmax",
    shorter_side=None,
    interpolation="bilinear_antialiased",
    mean=None,
    scale=60.0,
    seed=0,
    **options,
):
    """The mean is an image of its own unless one is given; `scale` is the standard deviation that pixels are given."""
    rng = np.random.default_rng(seed)
    if mean is None:
        mean = rng.uniform(80, 160, (size, size, channels)).astype(np.float32)
    record = Preprocessing(
        size, channels, mean, np.full(channels, scale, np.float32), tuple(classes), shorter_side, interpolation
    )
    spec = ModelSpec(model, options, num_classes or len(classes), scores, record)

    def fill(path, leaf):
        name = leaf_name(path).rsplit("/", 1)[-1]
        if name == "kernel":
            fan_in = leaf.size // leaf.shape[-1] // (leaf.shape[0] if len(leaf.shape) == 5 else 1)
            values = rng.standard_normal(leaf.shape, np.float32) * np.sqrt(2 / fan_in)
        elif name in ("scale", "var"):
            values = rng.uniform(0.7, 1.3, leaf.shape)
        else:
            values = 0.1 * rng.standard_normal(leaf.shape)
        return values.astype(np.float32)

    return TrainedModel(spec, **jax.tree_util.tree_map_with_path(fill, spec.shapes()))
