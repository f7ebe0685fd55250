"""AlexNet [K12]: the two-tower network and its one-tower control; their widths are at the end of the file."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.models.convolution import Padding, convolve
from resnet_alexnet.models.initializers import Initializer, constant, draw, normal
from resnet_alexnet.models.layers import (
    ACTIVATIONS,
    Dropout,
    Layer,
    Linear,
    MaxPool,
    check_image,
    image_keys,
    smallest_image,
    window_output,
)
from resnet_alexnet.models.normalization import LocalResponseNorm
from resnet_alexnet.models.trace import naming_layers

POOLING = {"overlapping": (3, 2), "plain": (2, 2)}  # window and stride, [K12] section 3.4
LRN_ORDER = ("after_activation", "before_activation")
INIT = ("paper", "author_code")
# [K12] section 3.5: kernel size, stride, padding, whether each tower sees all maps; section 5: initial bias
CONVOLUTIONS = (
    (11, 4, 2, True, 0.0),
    (5, 1, 2, False, 1.0),
    (3, 1, 1, True, 0.0),
    (3, 1, 1, False, 1.0),
    (3, 1, 1, False, 1.0),
)


class TowerConvolution(Layer):
    """A convolution split over towers: each tower has its own kernels and its own output channels.

    The kernel has a leading tower axis, so that a mesh can shard it. With `see_all` each tower takes all input channels
    (conv1 and conv3), else only its own (conv2, 4 and 5). It is computed as one plain convolution per tower, because
    XLA's grouped convolution has a slow gradient.

    Source: [K12] section 3.5 and figure 2.
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
        kernels = [draw(kernel_init, k, shape) for k in jax.random.split(key, towers)]
        self.kernel = nnx.Param(jnp.stack(kernels))
        self.bias = nnx.Param(jnp.full((towers, out_channels // towers), bias, jnp.float32))
        self.see_all, self.strides, self.padding = see_all, strides, padding

    def forward(self, x: Float[Array, "batch height width in"]) -> Float[Array, "batch new_height new_width out"]:
        """Convolves the input of each tower with its kernels and concatenates the channels of the towers."""
        kernels, biases = self.kernel.get_value(), self.bias.get_value()
        towers = kernels.shape[0]
        inputs = [x] * towers if self.see_all else jnp.split(x, towers, axis=-1)
        outputs = [
            convolve(inputs[t], kernels[t], strides=self.strides, padding=self.padding) + biases[t].astype(x.dtype)
            for t in range(towers)
        ]
        return jnp.concatenate(outputs, axis=-1)


class MapLinear(Layer):
    """A fully connected layer over a whole feature map, stored as a convolution kernel (side, side, in, out).

    On a map of exactly that side it is one inner product and its output is a map of one pixel. On a larger map it is a
    convolution, so the same weights work in fully-convolutional testing.
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
        self.kernel = nnx.Param(draw(kernel_init, kernel_key, (side, side, in_channels, out_features)))
        self.bias = nnx.Param(draw(bias_init, bias_key, (out_features,)))

    def forward(self, x: Float[Array, "batch height width in"]) -> Float[Array, "batch rows columns out"]:
        """Multiplies and adds the bias."""
        kernel, bias = self.kernel.get_value(), self.bias.get_value().astype(x.dtype)
        if x.shape[1:3] == kernel.shape[:2]:
            y = x.reshape(x.shape[0], -1) @ kernel.reshape(-1, kernel.shape[-1]).astype(x.dtype)
            return (y + bias)[:, None, None]
        return convolve(x, kernel) + bias


class AlexNet(nnx.Module):
    """The network of [K12], with two towers or one. The logits of a larger image are averaged over its positions.

    On one device, a map has the channels of the first tower, then those of the second. `split_towers` makes each device
    of a pair compute one tower, as in figure 2: then a map has the channels of the tower of its device, and `_both` is
    where the devices communicate.

    Args:
        widths: output channels of conv1 to conv5, neurons of fc6 and fc7.
        num_classes: logits per image.
        image_size: side of the images in pixels.
        channels: color channels.
        key: the random key of the initialization.
        towers: 2, or 1 without groups.
        activation: "relu" or "tanh" (figure 1).
        lrn: whether conv1 and conv2 are followed by local response normalization.
        lrn_size: see `LocalResponseNorm`, as for lrn_k, lrn_alpha, lrn_beta and lrn_alpha_over_size.
        lrn_k: likewise.
        lrn_alpha: likewise.
        lrn_beta: likewise.
        lrn_alpha_over_size: likewise.
        lrn_order: "after_activation" (the paper), or "before_activation" (the first layer of cuda-convnet2).
        lrn_across_towers: normalize over all kernel maps of a layer, as Caffe and torch do.
        pooling: "overlapping" 3x3 windows with stride 2, or "plain" 2x2 windows.
        dropout: probability in the two hidden fully connected layers.
        dropout_scaling: "inverted", or "test" as in section 4.2; see `Dropout`.
        middle_layer: False: without conv4 (section 7: removing a middle layer costs about 2 points of top-1 error).
        init: "paper": weights N(0, 0.01), bias 1 in conv2, 4, 5 and the hidden fully connected layers; "author_code":
            cuda-convnet2's, with std 0.03 in conv3 to 5 and bias -7 before logistic outputs.

    Source: [K12] section 3 (figure 2); initialization, section 5.
    Departure: with 224 pixels, 2 pixels of padding are needed for the stated 55x55 maps.
    """

    # The axis of each parameter along which it is split over two devices: half of the kernels of the convolutions, half
    # of the neurons of fc6 and fc7. fc8 is whole on both, so that both have all logits for the loss.
    tower_axes: ClassVar[Mapping[str, int]] = {
        **{f"conv{i}/{name}": 0 for i in range(1, 6) for name in ("kernel", "bias")},
        **{f"fc{i}/{name}": -1 for i in (6, 7) for name in ("kernel", "bias")},
    }

    def __init__(
        self,
        widths: tuple[int, int, int, int, int, int, int],
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
        middle_layer: bool = True,
        init: str = "paper",
    ):
        check_name("activation", activation, ACTIVATIONS)
        check_name("lrn_order", lrn_order, LRN_ORDER)
        check_name("pooling", pooling, POOLING)
        check_name("init", init, INIT)
        check_name("towers", towers, (1, 2))
        self.activation, self.lrn_order, self.channels = activation, lrn_order, channels
        self.towers, self.lrn_across_towers = towers, lrn_across_towers
        self.mesh_axis: str | None = None  # both towers are on one device
        sizes = partial(map_size, pooling=pooling)
        side = max(sizes(image_size), 1)
        self.smallest = smallest_image(image_size, sizes, needed=side, model="AlexNet")
        keys = jax.random.split(key, 8)
        norm = partial(
            LocalResponseNorm,
            size=lrn_size,
            k=lrn_k,
            alpha=lrn_alpha,
            beta=lrn_beta,
            alpha_over_size=lrn_alpha_over_size,
            groups=1 if lrn_across_towers else towers,
        )
        pool = partial(MaxPool, *POOLING[pooling])
        drop = partial(Dropout, dropout, scaling=dropout_scaling)
        weights = normal(0.01)
        convolutions = _convolutions((channels, *widths[:5]), towers=towers, init=init, keys=keys[:5])
        self.conv1, self.conv2, self.conv3, conv4, self.conv5 = convolutions
        self.conv4 = conv4 if middle_layer else None
        self.norm1, self.norm2 = (norm(), norm()) if lrn else (None, None)
        self.pool1, self.pool2, self.pool5 = pool(), pool(), pool()
        self.fc6 = MapLinear(side, *widths[4:6], kernel_init=weights, bias_init=constant(1.0), key=keys[5])
        self.dropout6 = drop(index=6)
        self.fc7 = Linear(*widths[5:], kernel_init=weights, bias_init=constant(1.0), key=keys[6])
        self.dropout7 = drop(index=7)
        last_bias = constant(-7.0 if init == "author_code" else 0.0)
        self.fc8 = Linear(widths[6], num_classes, kernel_init=weights, bias_init=last_bias, key=keys[7])

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
            x = self.pool1(self._activate(self.conv1(image), self.norm1))
            x = self.pool2(self._activate(self.conv2(x), self.norm2))
            x = self._both(x, to="conv3")
            x = act(self.conv3(x))
            x = x if self.conv4 is None else act(self.conv4(x))
            x = self.pool5(act(self.conv5(x)))
            x = self._both(x, to="fc6")
            x = act(self.fc6(x))
            x = self.dropout6(self._both(x, to="fc7"), keys=keys)
            x = act(self.fc7(x))
            x = self.dropout7(self._both(x, to="fc8"), keys=keys)
            return jnp.mean(self.fc8(x), axis=(1, 2))

    def split_towers(self, mesh_axis: str) -> None:
        """Makes each device of a mesh axis of two compute one tower, with the parameters split as in `tower_axes`.

        Raises:
            InputError: the network has one tower, or its towers communicate elsewhere than in figure 2.

        Source: [K12] section 3.2.
        """
        if self.towers == 1:
            raise InputError("mesh.towers=2 with a network of one tower (allowed: model.name=alexnet, model.towers=2)")
        if self.lrn_across_towers and self.norm1 is not None:
            raise InputError("mesh.towers=2 with model.lrn_across_towers=True (allowed: False, as in the paper)")
        self.mesh_axis = mesh_axis
        for norm in (self.norm1, self.norm2):
            if norm is not None:
                norm.groups = 1

    def _both(self, x: Float[Array, "batch height width maps"], *, to: str) -> Float[Array, "batch height width both"]:
        """The maps of both towers, for a layer that sees both."""
        if self.mesh_axis is None:
            return x
        with jax.named_scope(f"both_towers_to_{to}"):  # by which docs/towers.md counts the bytes
            # fc8 is computed on both devices from equal inputs: its gradient is complete there, without communication.
            kind = "invarying" if to == "fc8" else "varying"
            return lax.all_gather(x, self.mesh_axis, axis=-1, tiled=True, to=kind)

    def _activate(self, x: jax.Array, norm: LocalResponseNorm | None) -> jax.Array:
        act = ACTIVATIONS[self.activation]
        if norm is None:
            return act(x)
        return norm(act(x)) if self.lrn_order == "after_activation" else act(norm(x))


class OneTowerAlexNet(AlexNet):
    """AlexNet with one tower, which cannot be split."""

    tower_axes: ClassVar[Mapping[str, int]] = {}


def map_size(image_size: int, pooling: str = "overlapping") -> int:
    """Side of the map after pool5: 224 -> 55 -> 27 -> 13 -> 6; below 1 if the image is too small."""
    size = window_output(image_size, 11, 4, (2, 2))
    for _ in range(3):
        size = window_output(size, *POOLING[pooling], (0, 0))
    return size


def _convolutions(widths: tuple[int, ...], *, towers: int, init: str, keys: jax.Array) -> Iterator[TowerConvolution]:
    """Yields conv1 to conv5; `widths` starts with the channels of the image."""
    for i, (kernel_size, strides, padding, see_all, bias) in enumerate(CONVOLUTIONS):
        std = 0.03 if init == "author_code" and i >= 2 else 0.01
        yield TowerConvolution(
            widths[i],
            widths[i + 1],
            kernel_size,
            towers=towers,
            see_all=see_all,
            strides=strides,
            padding=(padding, padding),
            kernel_init=normal(std),
            bias=bias,
            key=keys[i],
        )


ALEXNETS = {
    "alexnet": partial(AlexNet, (96, 256, 384, 384, 256, 4096, 4096)),
    "alexnet_one_tower": partial(OneTowerAlexNet, (48, 128, 192, 192, 256, 4096, 4096), towers=1),
}
