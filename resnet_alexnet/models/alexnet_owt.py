"""torchvision's AlexNet: one column, after "One weird trick for parallelizing convolutional neural networks"."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from resnet_alexnet.errors import check_name
from resnet_alexnet.models.alexnet import MapLinear, map_size
from resnet_alexnet.models.initializers import torch_uniform
from resnet_alexnet.models.layers import (
    ACTIVATIONS,
    Convolution,
    Dropout,
    Linear,
    MaxPool,
    check_image,
    image_keys,
    smallest_image,
)
from resnet_alexnet.models.trace import naming_layers

LAST_MAP = ("averaged", "whole")


class AlexNetOwt(nnx.Module):
    """torchvision's one-column network after "One weird trick" (Krizhevsky 2014): no LRN, dropout before fc6 and fc7.

    Images need 63 pixels or more. `last_map` is how a last map larger than 6x6 is handled: "averaged" to 6x6, as in
    torchvision, or "whole": the fully connected layers are applied as convolutions and the logits are averaged over
    positions, as in `AlexNet`. The other options are those of `AlexNet`.

    Source: torchvision.models.alexnet, including torch's initialization.
    """

    fully_convolutional: ClassVar = {"last_map": "whole"}  # averaging would shrink the last map

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        key: jax.Array,
        activation: str = "relu",
        dropout: float = 0.5,
        dropout_scaling: str = "inverted",
        last_map: str = "averaged",
    ):
        check_name("activation", activation, ACTIVATIONS)
        check_name("last_map", last_map, LAST_MAP)
        self.activation, self.channels, self.last_map = activation, channels, last_map
        needed = 1 if last_map == "averaged" else 6
        self.smallest = smallest_image(image_size, map_size, needed=needed, model="alexnet_owt")
        keys = jax.random.split(key, 8)

        def convolution(i: int, in_channels: int, out_channels: int, kernel_size: int, padding: int, strides: int = 1):
            init = torch_uniform(in_channels * kernel_size**2)
            return Convolution(
                in_channels,
                out_channels,
                kernel_size,
                strides=strides,
                padding=(padding, padding),
                kernel_init=init,
                bias_init=init,
                key=keys[i],
            )

        def linear(i: int, in_features: int, out_features: int):
            init = torch_uniform(in_features)
            return Linear(in_features, out_features, kernel_init=init, bias_init=init, key=keys[i])

        self.conv1 = convolution(0, channels, 64, 11, 2, strides=4)
        self.pool1 = MaxPool(3, 2)
        self.conv2 = convolution(1, 64, 192, 5, 2)
        self.pool2 = MaxPool(3, 2)
        self.conv3 = convolution(2, 192, 384, 3, 1)
        self.conv4 = convolution(3, 384, 256, 3, 1)
        self.conv5 = convolution(4, 256, 256, 3, 1)
        self.pool5 = MaxPool(3, 2)
        self.dropout5 = Dropout(dropout, scaling=dropout_scaling, index=5)
        init6 = torch_uniform(256 * 6 * 6)
        self.fc6 = MapLinear(6, 256, 4096, kernel_init=init6, bias_init=init6, key=keys[5])
        self.dropout6 = Dropout(dropout, scaling=dropout_scaling, index=6)
        self.fc7 = linear(6, 4096, 4096)
        self.fc8 = linear(7, 4096, num_classes)

    def __call__(
        self,
        image: Float[Array, "batch height width channels"],
        *,
        train: bool = False,
        rngs: nnx.Rngs | jax.Array | None = None,
    ) -> Float[Array, "batch classes"]:
        """Computes logits; training with dropout needs `rngs`, an nnx.Rngs or one key per image."""
        check_image(image, self.channels, self.smallest)
        act = ACTIVATIONS[self.activation]
        keys = image_keys(rngs, image.shape[0]) if train and self.dropout6.rate > 0 else None
        with naming_layers(self):
            x = self.pool1(act(self.conv1(image)))
            x = self.pool2(act(self.conv2(x)))
            x = act(self.conv3(x))
            x = act(self.conv4(x))
            x = self.pool5(act(self.conv5(x)))
            x = adaptive_average_pool(x, 6) if self.last_map == "averaged" else x
            x = act(self.fc6(self.dropout5(x, keys=keys)))
            x = act(self.fc7(self.dropout6(x, keys=keys)))
            return jnp.mean(self.fc8(x), axis=(1, 2))


def adaptive_average_pool(
    x: Float[Array, "batch height width channels"], size: int
) -> Float[Array, "batch size size channels"]:
    """Averages a map into size x size bins; bin i is from floor(i n / size) to ceil((i + 1) n / size), as in torch."""
    if x.shape[1:3] == (size, size):
        return x

    def weights(n: int) -> np.ndarray:
        starts, ends = np.arange(size) * n // size, -(-(np.arange(size) + 1) * n // size)
        inside = (np.arange(n) >= starts[:, None]) & (np.arange(n) < ends[:, None])
        return inside / inside.sum(1, keepdims=True)

    rows, columns = (jnp.asarray(weights(n), x.dtype) for n in x.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns)
