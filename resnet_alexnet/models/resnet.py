"""Residual networks and their plain twins [H15]; the tables of the paper are at the bottom."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.models.layers import (
    ACTIVATIONS,
    BatchNorm,
    Convolution,
    Linear,
    MaxPool,
    check_image,
    he_normal,
    smallest_image,
    window_output,
)

SHORTCUTS = ("A", "B", "C")
STRIDE_IN = ("1x1", "3x3")
POOL_PADDING = {"caffe": "ceil", "torch": "symmetric"}


class ConvolutionNorm(nnx.Module):
    """A convolution without bias, then batch normalisation, before the activation. Source: [H15] section 3.4."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        strides: int = 1,
        norm: partial,
        key: jax.Array,
        **norm_options,
    ):
        half = kernel_size // 2
        self.conv = Convolution(
            in_channels,
            out_channels,
            kernel_size,
            strides=strides,
            padding=(half, half),
            kernel_init=he_normal(),
            key=key,
        )
        self.norm = norm(out_channels, **norm_options)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Convolves and normalises."""
        return self.norm(self.conv(x), train=train)


class PlainBlock(nnx.Module):
    """Two 3x3 convolutions, no shortcut: a pair of layers of the plain nets. Source: [H15] section 3.3."""

    expansion = 1
    default_shortcut = None
    default_stride_in = None

    def __init__(self, in_channels: int, width: int, *, strides: int, activation: str, norm: partial, key: jax.Array):
        key1, key2 = jax.random.split(key)
        self.conv1 = ConvolutionNorm(in_channels, width, 3, strides=strides, norm=norm, key=key1)
        self.conv2 = ConvolutionNorm(width, width, 3, norm=norm, key=key2)
        self.activation = activation

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Applies both layers."""
        act = ACTIVATIONS[self.activation]
        return act(self.conv2(act(self.conv1(x, train=train)), train=train))


class Shortcut(nnx.Module):
    """The shortcut of a residual block: identity where shapes agree, else by option. Source: [H15] sections 3.3 and 4.1.

    A pads with zero channels behind the strided identity and has no parameters, B projects by a 1x1 convolution only
    where the shape changes, C projects everywhere.
    """

    def __init__(
        self, option: str, in_channels: int, out_channels: int, *, strides: int, norm: partial, key: jax.Array
    ):
        changes = strides != 1 or in_channels != out_channels
        project = option == "C" or (option == "B" and changes)
        self.projection = (
            ConvolutionNorm(in_channels, out_channels, 1, strides=strides, norm=norm, key=key) if project else None
        )
        self.strides = strides
        self.new_channels = out_channels - in_channels

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """What is added to the residual function."""
        if self.projection is not None:
            return self.projection(x, train=train)
        x = x[:, :: self.strides, :: self.strides]
        return jnp.pad(x, [(0, 0), (0, 0), (0, 0), (0, self.new_channels)]) if self.new_channels else x


class BasicBlock(nnx.Module):
    """y = act(F(x) + shortcut(x)) with F two 3x3 convolutions. Source: [H15] figure 5, left."""

    expansion = 1
    default_shortcut = "A"
    default_stride_in = None

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        strides: int,
        activation: str,
        shortcut: str,
        zero_init_last_gamma: bool,
        norm: partial,
        key: jax.Array,
    ):
        key1, key2, key3 = jax.random.split(key, 3)
        self.conv1 = ConvolutionNorm(in_channels, width, 3, strides=strides, norm=norm, key=key1)
        self.conv2 = ConvolutionNorm(width, width, 3, norm=norm, zero_scale=zero_init_last_gamma, key=key2)
        self.shortcut = Shortcut(shortcut, in_channels, width, strides=strides, norm=norm, key=key3)
        self.activation = activation

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Adds the residual function to the shortcut; the last activation follows the addition."""
        act = ACTIVATIONS[self.activation]
        residual = self.conv2(act(self.conv1(x, train=train)), train=train)
        return act(residual + self.shortcut(x, train=train))


class Bottleneck(nnx.Module):
    """F is 1x1, 3x3, 1x1 with four times as many channels at the end. Source: [H15] figure 5, right.

    stride_in: "1x1" strides in the first convolution, as He's published nets; "3x3" in the second, as torchvision's.
    """

    expansion = 4
    default_shortcut = "B"
    default_stride_in = "1x1"

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        strides: int,
        activation: str,
        shortcut: str,
        stride_in: str,
        zero_init_last_gamma: bool,
        norm: partial,
        key: jax.Array,
    ):
        first, second = (strides, 1) if stride_in == "1x1" else (1, strides)
        keys = jax.random.split(key, 4)
        self.conv1 = ConvolutionNorm(in_channels, width, 1, strides=first, norm=norm, key=keys[0])
        self.conv2 = ConvolutionNorm(width, width, 3, strides=second, norm=norm, key=keys[1])
        self.conv3 = ConvolutionNorm(width, 4 * width, 1, norm=norm, zero_scale=zero_init_last_gamma, key=keys[2])
        self.shortcut = Shortcut(shortcut, in_channels, 4 * width, strides=strides, norm=norm, key=keys[3])
        self.activation = activation

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Adds the residual function to the shortcut; the last activation follows the addition."""
        act = ACTIVATIONS[self.activation]
        residual = act(self.conv1(x, train=train))
        residual = act(self.conv2(residual, train=train))
        residual = self.conv3(residual, train=train)
        return act(residual + self.shortcut(x, train=train))


Block = type[PlainBlock] | type[BasicBlock] | type[Bottleneck]


class ImageNetStem(nnx.Module):
    """7x7 convolution with stride 2, then 3x3 max-pooling with stride 2. Source: [H15] table 1.

    pool_padding: "caffe" pads only the far side, as He's published nets; "torch" pads one pixel on each.
    """

    width = 64
    first_stage_strides = 1

    def __init__(self, channels: int, *, activation: str, pool_padding: str, norm: partial, key: jax.Array):
        check_name("pool_padding", pool_padding, POOL_PADDING)
        self.conv1 = ConvolutionNorm(channels, 64, 7, strides=2, norm=norm, key=key)
        self.pool1 = MaxPool(3, 2, padding=POOL_PADDING[pool_padding])
        self.activation = activation

    def output_size(self, size: int) -> int:
        """Side of the map that an image with this side leaves."""
        return self.pool1.output_size(window_output(size, 7, 2, (3, 3)))

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Applies the layers."""
        return self.pool1(ACTIVATIONS[self.activation](self.conv1(x, train=train)))


class CifarStem(nnx.Module):
    """One 3x3 convolution with 16 kernels. Source: [H15] section 4.2."""

    width = 16

    def __init__(self, channels: int, *, activation: str, norm: partial, key: jax.Array):
        self.conv1 = ConvolutionNorm(channels, 16, 3, norm=norm, key=key)
        self.activation = activation

    def output_size(self, size: int) -> int:
        """Side of the map that an image with this side leaves."""
        return size

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Applies the layer."""
        return ACTIVATIONS[self.activation](self.conv1(x, train=train))


class ResNet(nnx.Module):
    """A stem, stages of equal blocks, global average pooling, a linear classifier. Source: [H15] table 1, section 4.2.

    The first block of every stage but the first halves the map and doubles the width. Initialisation is He's [13].

    shortcut: option "A", "B" or "C"; default A for basic blocks, B for bottlenecks. Plain nets have none.
    stride_in: where a bottleneck strides, "1x1" (default, as published) or "3x3".
    activation: "relu" or "tanh".
    pool_padding: the stem's max-pooling, "caffe" (as published) or "torch"; CIFAR nets have none.
    bn_group, bn_momentum, bn_unbiased_variance: as in BatchNorm.
    zero_init_last_gamma: each residual function begins at zero (Goyal et al. 2017 section 5.1).
    """

    def __init__(
        self,
        stage_sizes: tuple[int, ...],
        block: Block,
        stem: type[ImageNetStem] | type[CifarStem],
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        key: jax.Array,
        shortcut: str | None = None,
        stride_in: str | None = None,
        activation: str = "relu",
        pool_padding: str | None = None,
        bn_group: int | str | None = None,
        bn_momentum: float = 0.9,
        bn_unbiased_variance: bool = False,
        zero_init_last_gamma: bool | None = None,
    ):
        check_name("activation", activation, ACTIVATIONS)
        norm = partial(BatchNorm, group=bn_group, momentum=bn_momentum, unbiased_variance=bn_unbiased_variance)
        block_options = _block_options(block, shortcut, stride_in, zero_init_last_gamma)
        stem_options = _stem_options(stem, pool_padding)
        stem_key, head_key, *keys = jax.random.split(key, 2 + sum(stage_sizes))
        self.stem = stem(channels, activation=activation, norm=norm, key=stem_key, **stem_options)
        self.channels = channels
        self.smallest = smallest_image(image_size, self.stem.output_size, model="this ResNet")
        stages, width, in_channels = [], stem.width, stem.width
        for stage, size in enumerate(stage_sizes):
            blocks = []
            for i in range(size):
                strides = 2 if stage > 0 and i == 0 else 1
                blocks.append(
                    block(
                        in_channels,
                        width,
                        strides=strides,
                        activation=activation,
                        norm=norm,
                        key=keys.pop(0),
                        **block_options,
                    )
                )
                in_channels = width * block.expansion
            stages.append(nnx.List(blocks))
            width *= 2
        self.stages = nnx.List(stages)
        self.head = Linear(
            in_channels,
            num_classes,
            kernel_init=he_normal(),
            bias_init=jax.nn.initializers.zeros,
            key=head_key,
        )

    def __call__(
        self,
        image: Float[Array, "batch height width channels"],
        *,
        train: bool = False,
        rngs: nnx.Rngs | jax.Array | None = None,
    ) -> Float[Array, "batch classes"]:
        """Logits; in training each BatchNorm uses the batch's statistics and moves its running ones."""
        check_image(image, self.channels, self.smallest)
        x = self.stem(image, train=train)
        for blocks in self.stages:
            for block in blocks:
                x = block(x, train=train)
        return self.head(jnp.mean(x, axis=(1, 2)))


def _block_options(
    block: Block, shortcut: str | None, stride_in: str | None, zero_init_last_gamma: bool | None
) -> dict[str, object]:
    """The options that this kind of block has, by default where None; InputError for one that it lacks."""
    options: dict[str, object] = {}
    if block.default_shortcut is None:
        for name, value in (("shortcut", shortcut), ("zero_init_last_gamma", zero_init_last_gamma)):
            if value is not None:
                raise InputError(f"{name}={value!r}: a plain net has no shortcuts, leave the option out")
    else:
        options["shortcut"] = shortcut or block.default_shortcut
        options["zero_init_last_gamma"] = bool(zero_init_last_gamma)
        check_name("shortcut", options["shortcut"], SHORTCUTS)
    if block.default_stride_in is not None:
        options["stride_in"] = stride_in or block.default_stride_in
        check_name("stride_in", options["stride_in"], STRIDE_IN)
    elif stride_in is not None:
        raise InputError(
            f"stride_in={stride_in!r}: only bottleneck nets (50 layers and more) have this option, leave it out"
        )
    return options


def _stem_options(stem: type[ImageNetStem] | type[CifarStem], pool_padding: str | None) -> dict[str, str]:
    if stem is ImageNetStem:
        return {"pool_padding": pool_padding or "caffe"}
    if pool_padding is not None:
        raise InputError(f"pool_padding={pool_padding!r}: a CIFAR net has no max-pooling, leave the option out")
    return {}


RESNETS = {
    # [H15] table 1; the plain twins of section 3.3
    "resnet18": partial(ResNet, (2, 2, 2, 2), BasicBlock, ImageNetStem),
    "resnet34": partial(ResNet, (3, 4, 6, 3), BasicBlock, ImageNetStem),
    "resnet50": partial(ResNet, (3, 4, 6, 3), Bottleneck, ImageNetStem),
    "resnet101": partial(ResNet, (3, 4, 23, 3), Bottleneck, ImageNetStem),
    "resnet152": partial(ResNet, (3, 8, 36, 3), Bottleneck, ImageNetStem),
    "plain18": partial(ResNet, (2, 2, 2, 2), PlainBlock, ImageNetStem),
    "plain34": partial(ResNet, (3, 4, 6, 3), PlainBlock, ImageNetStem),
    # [H15] section 4.2: 6n + 2 layers, published for n = 3, 5, 7, 9, 18 and 200
    **{f"cifar_resnet{6 * n + 2}": partial(ResNet, (n, n, n), BasicBlock, CifarStem) for n in range(1, 201)},
    **{f"cifar_plain{6 * n + 2}": partial(ResNet, (n, n, n), PlainBlock, CifarStem) for n in range(1, 201)},
}
