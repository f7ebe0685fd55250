"""AlexNet [K12]: the two-tower net of 2012, its one-tower control, torchvision's one-column net, the CIFAR-10 net."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn import initializers
from jaxtyping import Array, Float

from resnet_alexnet.errors import check_name
from resnet_alexnet.models.layers import (
    ACTIVATIONS,
    Convolution,
    Dropout,
    Initializer,
    Layer,
    Linear,
    LocalConvolution,
    LocalResponseNorm,
    MaxPool,
    Padding,
    check_image,
    convolve,
    image_keys,
    smallest_image,
    torch_uniform,
    window_output,
)

POOLING = {"overlapping": (3, 2), "plain": (2, 2)}  # window and stride, [K12] section 3.4
LRN_ORDER = ("after_activation", "before_activation")

normal = initializers.normal
constant = initializers.constant


class TowerConvolution(Layer):
    """A convolution split over towers: each tower has its own kernels and gives its own run of the output channels.

    The kernel carries a leading tower axis, so that a mesh can shard it. With `see_all` every tower takes all the input
    channels (as conv1 and conv3 do), else only its own (conv2, 4 and 5). Written as plain convolutions, one a tower:
    XLA's grouped convolution has a slow gradient. Source: [K12] section 3.5 and figure 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        towers: int,
        see_all: bool,
        strides: int = 1,
        padding: Padding,
        kernel_init: Initializer,
        bias: float,
        key: jax.Array,
    ):
        shape = (
            kernel_size,
            kernel_size,
            in_channels if see_all else in_channels // towers,
            out_channels // towers,
        )
        kernels = [kernel_init(k, shape, jnp.float32) for k in jax.random.split(key, towers)]
        self.kernel = nnx.Param(jnp.stack(kernels))
        self.bias = nnx.Param(jnp.full((towers, out_channels // towers), bias, jnp.float32))
        self.see_all, self.strides, self.padding = see_all, strides, padding

    def forward(self, x: Float[Array, "batch height width in"]) -> Float[Array, "batch new_height new_width out"]:
        """Convolves each tower's input with its kernels and puts the towers' channels side by side."""
        kernels, biases = self.kernel.get_value(), self.bias.get_value()
        towers = kernels.shape[0]
        inputs = [x] * towers if self.see_all else jnp.split(x, towers, axis=-1)
        outputs = [
            convolve(inputs[t], kernels[t], strides=self.strides, padding=self.padding) + biases[t].astype(x.dtype)
            for t in range(towers)
        ]
        return jnp.concatenate(outputs, axis=-1)

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Every output pixel takes each tower's kernel once."""
        return output_shape[0] * output_shape[1] * self.kernel.get_value().size


class MapLinear(Layer):
    """A fully connected layer over a whole map, stored as a convolution kernel (side, side, in, out).

    On a map of just that side it is one inner product, on a larger one a convolution: the same weights serve the
    fully-convolutional test. The result is a map in both cases, of one pixel in the first.
    """

    def __init__(
        self,
        side: int,
        in_channels: int,
        out_features: int,
        *,
        kernel_init: Initializer,
        bias_init: Initializer,
        key: jax.Array,
    ):
        kernel_key, bias_key = jax.random.split(key)
        self.kernel = nnx.Param(kernel_init(kernel_key, (side, side, in_channels, out_features), jnp.float32))
        self.bias = nnx.Param(bias_init(bias_key, (out_features,), jnp.float32))

    def forward(self, x: Float[Array, "batch height width in"]) -> Float[Array, "batch rows columns out"]:
        """Multiplies and adds the bias."""
        kernel, bias = self.kernel.get_value(), self.bias.get_value().astype(x.dtype)
        if x.shape[1:3] == kernel.shape[:2]:
            y = x.reshape(x.shape[0], -1) @ kernel.reshape(-1, kernel.shape[-1]).astype(x.dtype)
            return (y + bias)[:, None, None]
        return convolve(x, kernel) + bias

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Every weight is used once at each position."""
        return output_shape[0] * output_shape[1] * self.kernel.get_value().size


class AlexNet(nnx.Module):
    """The network of [K12], in two towers or in one; logits of a larger image are averaged over its positions.

    Source: [K12] section 3 (figure 2), initialisation section 5: weights N(0, 0.01), bias 1 in conv2, 4, 5 and the
        hidden fully connected layers. `init="author_code"` is cuda-convnet2's: std 0.03 in conv3 to 5, bias -7 before
        logistic outputs.
    Departure: 224 pixels need 2 of padding to give the stated 55x55 maps.

    activation: "relu" or "tanh" (figure 1).
    lrn: local response normalisation after conv1 and conv2, with lrn_size, lrn_k, lrn_alpha, lrn_alpha_over_size and
        lrn_beta of its formula; lrn_order "after_activation" (the paper) or "before_activation" (the study text, and
        cuda-convnet2's first layer); lrn_across_towers runs it over all the layer's kernel maps, as Caffe and torch do.
    pooling: "overlapping" 3x3 windows with stride 2, or "plain" 2x2.
    dropout: rate in the two hidden fully connected layers; dropout_scaling "inverted", or "test" as in section 4.2.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int, int],
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        key: jax.Array,
        towers: int = 2,
        activation: str = "relu",
        lrn: bool = True,
        lrn_size: int = 5,
        lrn_k: float = 2.0,
        lrn_alpha: float = 1e-4,
        lrn_beta: float = 0.75,
        lrn_alpha_over_size: bool = False,
        lrn_order: str = "after_activation",
        lrn_across_towers: bool = False,
        pooling: str = "overlapping",
        dropout: float = 0.5,
        dropout_scaling: str = "inverted",
        init: str = "paper",
    ):
        check_name("activation", activation, ACTIVATIONS)
        check_name("lrn_order", lrn_order, LRN_ORDER)
        check_name("pooling", pooling, POOLING)
        check_name("init", init, ("paper", "author_code"))
        check_name("towers", towers, (1, 2))
        self.activation, self.lrn_order, self.channels = activation, lrn_order, channels
        window, stride = POOLING[pooling]
        smallest_image(image_size, partial(_map_size, window=window, stride=stride), model="AlexNet")
        side = _map_size(image_size, window, stride)
        self.smallest = smallest_image(
            image_size, partial(_map_size, window=window, stride=stride), needed=side, model="AlexNet"
        )

        std = 0.03 if init == "author_code" else 0.01
        keys = jax.random.split(key, 8)
        w1, w2, w3, w4, w5 = widths
        tower = partial(TowerConvolution, towers=towers)
        norm = partial(
            LocalResponseNorm,
            size=lrn_size,
            k=lrn_k,
            alpha=lrn_alpha,
            beta=lrn_beta,
            alpha_over_size=lrn_alpha_over_size,
            groups=1 if lrn_across_towers else towers,
        )
        pool = partial(MaxPool, window, stride)
        self.conv1 = tower(
            channels,
            w1,
            11,
            see_all=True,
            strides=4,
            padding=(2, 2),
            kernel_init=normal(0.01),
            bias=0.0,
            key=keys[0],
        )
        self.norm1 = norm() if lrn else None
        self.pool1 = pool()
        self.conv2 = tower(w1, w2, 5, see_all=False, padding=(2, 2), kernel_init=normal(0.01), bias=1.0, key=keys[1])
        self.norm2 = norm() if lrn else None
        self.pool2 = pool()
        self.conv3 = tower(w2, w3, 3, see_all=True, padding=(1, 1), kernel_init=normal(std), bias=0.0, key=keys[2])
        self.conv4 = tower(w3, w4, 3, see_all=False, padding=(1, 1), kernel_init=normal(std), bias=1.0, key=keys[3])
        self.conv5 = tower(w4, w5, 3, see_all=False, padding=(1, 1), kernel_init=normal(std), bias=1.0, key=keys[4])
        self.pool5 = pool()
        self.fc6 = MapLinear(side, w5, 4096, kernel_init=normal(0.01), bias_init=constant(1.0), key=keys[5])
        self.dropout6 = Dropout(dropout, scaling=dropout_scaling, index=6)
        self.fc7 = Linear(4096, 4096, kernel_init=normal(0.01), bias_init=constant(1.0), key=keys[6])
        self.dropout7 = Dropout(dropout, scaling=dropout_scaling, index=7)
        last_bias = constant(-7.0 if init == "author_code" else 0.0)
        self.fc8 = Linear(4096, num_classes, kernel_init=normal(0.01), bias_init=last_bias, key=keys[7])

    def __call__(
        self,
        image: Float[Array, "batch height width channels"],
        *,
        train: bool = False,
        rngs: nnx.Rngs | jax.Array | None = None,
    ) -> Float[Array, "batch classes"]:
        """Logits; `rngs` (an nnx.Rngs or one key an image) is needed in training with dropout."""
        check_image(image, self.channels, self.smallest)
        act = ACTIVATIONS[self.activation]
        keys = image_keys(rngs, image.shape[0]) if train and self.dropout6.rate > 0 else None
        x = self.pool1(self._activate(self.conv1(image), self.norm1))
        x = self.pool2(self._activate(self.conv2(x), self.norm2))
        x = act(self.conv3(x))
        x = act(self.conv4(x))
        x = self.pool5(act(self.conv5(x)))
        x = self.dropout6(act(self.fc6(x)), keys=keys)
        x = self.dropout7(act(self.fc7(x)), keys=keys)
        return jnp.mean(self.fc8(x), axis=(1, 2))

    def _activate(self, x: jax.Array, norm: LocalResponseNorm | None) -> jax.Array:
        act = ACTIVATIONS[self.activation]
        if norm is None:
            return act(x)
        return norm(act(x)) if self.lrn_order == "after_activation" else act(norm(x))


def _map_size(image_size: int, window: int, stride: int) -> int:
    """Side of the last map: 224 -> 55 -> 27 -> 13 -> 6."""
    size = window_output(image_size, 11, 4, (2, 2))
    for _ in range(3):
        size = window_output(size, window, stride, (0, 0))
    return size


class AlexNetOwt(nnx.Module):
    """torchvision's one-column net after "One weird trick" (Krizhevsky 2014): no LRN, dropout before fc6 and fc7.

    Source: torchvision.models.alexnet, torch's initialisation included. Any image of 63 pixels or more: the last map is
        averaged to 6x6.
    """

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
    ):
        check_name("activation", activation, ACTIVATIONS)
        self.activation, self.channels = activation, channels
        self.smallest = smallest_image(image_size, partial(_map_size, window=3, stride=2), model="alexnet_owt")
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
        """Logits; `rngs` (an nnx.Rngs or one key an image) is needed in training with dropout."""
        check_image(image, self.channels, self.smallest)
        act = ACTIVATIONS[self.activation]
        keys = image_keys(rngs, image.shape[0]) if train and self.dropout6.rate > 0 else None
        x = self.pool1(act(self.conv1(image)))
        x = self.pool2(act(self.conv2(x)))
        x = act(self.conv3(x))
        x = act(self.conv4(x))
        x = self.pool5(act(self.conv5(x)))
        x = adaptive_average_pool(x, 6)
        x = act(self.fc6(self.dropout5(x, keys=keys)))
        x = act(self.fc7(self.dropout6(x, keys=keys)))
        return self.fc8(x)[:, 0, 0]


def adaptive_average_pool(
    x: Float[Array, "batch height width channels"], size: int
) -> Float[Array, "batch size size channels"]:
    """Averages a map into size x size bins, the i-th from floor(i n / size) to ceil((i + 1) n / size), as torch."""
    if x.shape[1:3] == (size, size):
        return x

    def weights(n: int) -> np.ndarray:
        starts, ends = np.arange(size) * n // size, -(-(np.arange(size) + 1) * n // size)
        inside = (np.arange(n) >= starts[:, None]) & (np.arange(n) < ends[:, None])
        return inside / inside.sum(1, keepdims=True)

    rows, columns = (jnp.asarray(weights(n), x.dtype) for n in x.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns)


class AlexNetCifar(nnx.Module):
    """Krizhevsky's four-layer CIFAR-10 net: two convolutional and two locally connected layers, then the classifier.

    Source: [K12] sections 3.1 and 3.3 (13 % test error without normalisation, 11 % with), with the shapes of
        cuda-convnet's layers-conv-local-13pct and -11pct: 64@5x5, 64@5x5, 64@3x3 and 32@3x3 untied, max-pooling 3x3
        with stride 2 in ceil mode, normalisation over 9 maps with alpha 0.001, k 1 and no division by n.
    Departure: conv1's weights are N(0, 0.01), not N(0, 0.0001), because our pixels have unit variance, not 0 to 255.

    activation, lrn, lrn_size, lrn_k, lrn_alpha, lrn_beta, pooling: as in AlexNet.
    """

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
        pooling: str = "overlapping",
    ):
        check_name("activation", activation, ACTIVATIONS)
        check_name("pooling", pooling, POOLING)
        self.activation, self.channels, self.image_size = activation, channels, image_size
        smallest_image(image_size, lambda size: size, model="alexnet_cifar")
        keys = jax.random.split(key, 5)
        pool = partial(MaxPool, *POOLING[pooling], padding="ceil")
        norm = partial(LocalResponseNorm, size=lrn_size, k=lrn_k, alpha=lrn_alpha, beta=lrn_beta)
        conv = partial(Convolution, kernel_size=5, padding=(2, 2), kernel_init=normal(0.01), bias_init=constant(0.0))
        self.conv1 = conv(channels, 64, key=keys[0])
        self.pool1 = pool()
        self.norm1 = norm() if lrn else None
        self.conv2 = conv(64, 64, key=keys[1])
        self.norm2 = norm() if lrn else None
        self.pool2 = pool()
        side = self.pool2.output_size(self.pool1.output_size(image_size))
        local = partial(LocalConvolution, side, kernel_size=3, padding=(1, 1), kernel_init=normal(0.04))
        self.local3 = local(64, 64, key=keys[2])
        self.local4 = local(64, 32, key=keys[3])
        self.fc = Linear(32 * side**2, num_classes, kernel_init=normal(0.01), bias_init=constant(0.0), key=keys[4])

    def __call__(
        self,
        image: Float[Array, "batch height width channels"],
        *,
        train: bool = False,
        rngs: nnx.Rngs | jax.Array | None = None,
    ) -> Float[Array, "batch classes"]:
        """Logits; nothing differs in training. Untied weights know one image size only."""
        check_image(image, self.channels, self.image_size, largest=self.image_size)
        act = ACTIVATIONS[self.activation]
        x = self.pool1(act(self.conv1(image)))
        x = x if self.norm1 is None else self.norm1(x)
        x = act(self.conv2(x))
        x = self.pool2(x if self.norm2 is None else self.norm2(x))
        x = act(self.local3(x))
        x = act(self.local4(x))
        return self.fc(x.reshape(x.shape[0], -1))


ALEXNETS = {
    "alexnet": partial(AlexNet, (96, 256, 384, 384, 256)),
    "alexnet_one_tower": partial(AlexNet, (48, 128, 192, 192, 256), towers=1),
    "alexnet_owt": AlexNetOwt,
    "alexnet_cifar": AlexNetCifar,
}
