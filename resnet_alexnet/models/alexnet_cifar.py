"""Krizhevsky's small network for CIFAR-10: [K12] figure 1 and the ablation in section 3.3."""

from functools import partial

import jax
from flax import nnx
from jaxtyping import Array, Float

from resnet_alexnet.errors import check_name
from resnet_alexnet.models.alexnet import LRN_ORDER, POOLING, TowerConvolution
from resnet_alexnet.models.initializers import constant, normal
from resnet_alexnet.models.layers import (
    ACTIVATIONS,
    Convolution,
    Dropout,
    Linear,
    LocalConvolution,
    MaxPool,
    check_image,
    image_keys,
)
from resnet_alexnet.models.normalization import LocalResponseNorm
from resnet_alexnet.models.trace import naming_layers


class AlexNetCifar(nnx.Module):
    """Krizhevsky's CIFAR-10 network: two convolutional layers, two locally connected layers and the classifier.

    The options are those of `AlexNet`, so that its ingredients can be studied on small images. With two towers, conv2
    and the normalization see the maps of their own tower only. Dropout is before the classifier. The middle layer is
    local3.

    Source: [K12] sections 3.1 and 3.3 (13 % test error without normalization, 11 % with), with the shapes of
        cuda-convnet's layers-conv-local-13pct and -11pct: 64@5x5, 64@5x5, 64@3x3 and 32@3x3 untied, max-pooling 3x3
        with stride 2 in ceil mode, normalization over 9 maps with k 1 and alpha 0.001, divided by 9 as in that code.
    Departure: the weights of conv1 are N(0, 0.01), not N(0, 0.0001), because our pixels have unit variance instead of
        a range of 0 to 255.
    """

    fully_convolutional = "its locally connected layers have their own weights at every position of one image size"

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        key: jax.Array,
        activation: str = "relu",
        lrn: bool = True,
        lrn_size: int = 9,
        lrn_k: float = 1.0,
        lrn_alpha: float = 1e-3,
        lrn_beta: float = 0.75,
        lrn_alpha_over_size: bool = True,
        lrn_order: str = "after_activation",
        pooling: str = "overlapping",
        dropout: float = 0.0,
        towers: int = 1,
        middle_layer: bool = True,
    ):
        check_name("activation", activation, ACTIVATIONS)
        check_name("lrn_order", lrn_order, LRN_ORDER)
        check_name("pooling", pooling, POOLING)
        check_name("towers", towers, (1, 2))
        self.activation, self.channels, self.image_size = activation, channels, image_size
        self.lrn_order = lrn_order
        keys = jax.random.split(key, 5)
        pool = partial(MaxPool, *POOLING[pooling], padding="ceil")
        norm = partial(
            LocalResponseNorm,
            size=lrn_size,
            k=lrn_k,
            alpha=lrn_alpha,
            beta=lrn_beta,
            alpha_over_size=lrn_alpha_over_size,
            groups=towers,
        )
        zeros = constant(0.0)
        conv = partial(Convolution, kernel_size=5, padding=(2, 2), kernel_init=normal(0.01), bias_init=zeros)
        self.conv1 = conv(channels, 64, key=keys[0])
        self.pool1 = pool()
        self.norm1 = norm() if lrn else None
        if towers == 1:
            self.conv2 = conv(64, 64, key=keys[1])
        else:
            self.conv2 = TowerConvolution(
                *(64, 64, 5),
                towers=towers,
                see_all=False,
                padding=(2, 2),
                kernel_init=normal(0.01),
                bias=0.0,
                key=keys[1],
            )
        self.norm2 = norm() if lrn else None
        self.pool2 = pool()
        side = self.pool2.output_size(self.pool1.output_size(image_size))
        local = partial(LocalConvolution, side, kernel_size=3, padding=(1, 1), kernel_init=normal(0.04))
        self.local3 = local(64, 64, key=keys[2]) if middle_layer else None
        self.local4 = local(64, 32, key=keys[3])
        self.dropout4 = Dropout(dropout, index=4) if dropout else None
        self.fc = Linear(32 * side**2, num_classes, kernel_init=normal(0.01), bias_init=zeros, key=keys[4])

    def __call__(
        self,
        image: Float[Array, "batch height width channels"],
        *,
        train: bool = False,
        rngs: nnx.Rngs | jax.Array | None = None,
    ) -> Float[Array, "batch classes"]:
        """Computes logits; training with dropout needs `rngs`, an nnx.Rngs or one key per image.

        Untied weights fit only one image size.
        """
        check_image(image, self.channels, self.image_size, largest=self.image_size)
        act = ACTIVATIONS[self.activation]
        keys = image_keys(rngs, image.shape[0]) if train and self.dropout4 is not None else None
        before = self.lrn_order == "before_activation"
        with naming_layers(self):
            x = self.conv1(image)
            x = self.pool1(act(_normalize(self.norm1, x) if before else x))
            x = self.conv2(x if before else _normalize(self.norm1, x))
            x = act(_normalize(self.norm2, x)) if before else _normalize(self.norm2, act(x))
            x = self.pool2(x)
            x = x if self.local3 is None else act(self.local3(x))
            x = act(self.local4(x))
            x = x if self.dropout4 is None else self.dropout4(x, keys=keys)
            return self.fc(x.reshape(x.shape[0], -1))


def _normalize(norm: LocalResponseNorm | None, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return x if norm is None else norm(x)
