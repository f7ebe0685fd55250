"""Residual networks and their plain counterparts [H15]; the tables of the paper are at the end of the file."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.models.blocks import BasicBlock, Block, Bottleneck, ConvolutionNorm, PlainBlock
from resnet_alexnet.models.initializers import he_normal
from resnet_alexnet.models.layers import ACTIVATIONS, Linear, MaxPool, check_image
from resnet_alexnet.models.normalization import BatchNorm
from resnet_alexnet.models.stacked import run_blocks
from resnet_alexnet.models.trace import naming_layers

SHORTCUTS = ("A", "B", "C")
SHORTCUT_PADDING = ("behind", "both")
STRIDE_IN = ("1x1", "3x3")
REMAT = ("none", "blocks")
# Up to here single blocks compile in less than 20 s, and the step of ResNet-110 and ResNet-152 is an eighth faster than
# in a loop; beyond, compilation takes minutes. Measured on a CPU, see docs/speed.md; not on a GPU.
UNROLLED_LAYERS = 152
POOL_PADDING = {"caffe": "ceil", "torch": "symmetric"}


class ImageNetStem(nnx.Module):
    """7x7 convolution with stride 2, then 3x3 max-pooling with stride 2.

    `pool_padding` "caffe" pads only at the end of each axis, as in He's published networks; "torch" pads one pixel on
    each side.

    Source: [H15] table 1.
    """

    width = 64

    def __init__(self, channels: int, width: int, *, activation: str, pool_padding: str, norm: partial, key: jax.Array):
        check_name("pool_padding", pool_padding, POOL_PADDING)
        self.conv1 = ConvolutionNorm(channels, width, 7, strides=2, norm=norm, key=key)
        self.pool1 = MaxPool(3, 2, padding=POOL_PADDING[pool_padding])
        self.activation = activation

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Applies the layers."""
        return self.pool1(ACTIVATIONS[self.activation](self.conv1(x, train=train)))


class CifarStem(nnx.Module):
    """One 3x3 convolution with 16 kernels. Source: [H15] section 4.2."""

    width = 16

    def __init__(self, channels: int, width: int, *, activation: str, norm: partial, key: jax.Array):
        self.conv1 = ConvolutionNorm(channels, width, 3, norm=norm, key=key)
        self.activation = activation

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Applies the layer."""
        return ACTIVATIONS[self.activation](self.conv1(x, train=train))


class ResNet(nnx.Module):
    """A stem, stages of equal blocks, global average pooling and a linear classifier.

    The first block of each stage, except the first stage, halves the feature map and doubles the width. Weights are
    initialized as in the paper, by `he_normal`.

    Args:
        stage_sizes: blocks per stage.
        block: the kind of block.
        stem: the kind of stem.
        num_classes: logits per image.
        image_size: ignored: averaging over the last map allows any image size, down to one pixel.
        channels: color channels.
        key: the random key of the initialization.
        shortcut: option "A", "B" or "C"; default A for basic blocks, B for bottlenecks. Plain networks have none.
        shortcut_padding: where the zero channels of option A are: "behind" the channels of the identity (default;
            fb.resnet.torch), or on "both" sides, half each, as in most CIFAR networks for torch.
        stride_in: the convolution of a bottleneck with the stride, "1x1" (default, as published) or "3x3".
        activation: "relu" or "tanh".
        width: channels of the first stage; each later stage has twice as many (four times as many behind a bottleneck).
            Default 64, for CIFAR 16.
        stem_width: channels of the stem; default `width`.
        pool_padding: padding of the stem's max-pooling, "caffe" (as published) or "torch"; CIFAR networks have none.
        bn_group: see `BatchNorm`.
        bn_momentum: see `BatchNorm`.
        bn_unbiased_variance: see `BatchNorm`.
        zero_init_last_gamma: each residual function starts at zero (Goyal et al. 2017 section 5.1).
        scan: whether training and tests run the equal blocks of a stage in a loop, with their arrays stacked, see
            `stacked`. Default: with more than UNROLLED_LAYERS layers. Results are equal but for rounding.
        remat: what training computes again in the backward pass, to save memory: "none" or "blocks", of which only the
            inputs are kept. Source: Chen et al. 2016, "Training deep nets with sublinear memory cost".

    Source: [H15] table 1, section 4.2.
    """

    @staticmethod
    def lacking_options(stage_sizes: tuple[int, ...], block: Block, stem: type) -> dict[str, str]:
        """The options that do not apply to a network of these parts, and why."""
        lacking: dict[str, str] = {}
        if block.default_shortcut is None:
            of_shortcuts = ("shortcut", "shortcut_padding", "zero_init_last_gamma")
            lacking |= dict.fromkeys(of_shortcuts, "a plain network has no shortcuts")
        if block.default_stride_in is None:
            lacking["stride_in"] = "only bottleneck networks (50 layers or more) have this option"
        if stem is not ImageNetStem:
            lacking["pool_padding"] = "a CIFAR network has no max-pooling"
        return lacking

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
        shortcut_padding: str | None = None,
        stride_in: str | None = None,
        activation: str = "relu",
        width: int | None = None,
        stem_width: int | None = None,
        pool_padding: str | None = None,
        bn_group: int | str | None = None,
        bn_momentum: float = 0.9,
        bn_unbiased_variance: bool = False,
        zero_init_last_gamma: bool | None = None,
        scan: bool | None = None,
        remat: str = "none",
    ):
        check_name("activation", activation, ACTIVATIONS)
        check_name("remat", remat, REMAT)
        norm = partial(BatchNorm, group=bn_group, momentum=bn_momentum, unbiased_variance=bn_unbiased_variance)
        block_options = _block_options(block, shortcut, shortcut_padding, stride_in, zero_init_last_gamma)
        stem_options = {"pool_padding": pool_padding or "caffe"} if stem is ImageNetStem else {}
        stem_key, head_key, *keys = jax.random.split(key, 2 + sum(stage_sizes))
        width = stem.width if width is None else width
        in_channels = width if stem_width is None else stem_width
        if min(width, in_channels) < 1:
            raise InputError(f"width={width}, stem_width={in_channels} (allowed: whole numbers from 1 up)")
        self.stem = stem(channels, in_channels, activation=activation, norm=norm, key=stem_key, **stem_options)
        self.channels = channels
        layers = 2 + sum(stage_sizes) * (3 if block is Bottleneck else 2)
        self.scan_equal_blocks = layers > UNROLLED_LAYERS if scan is None else scan
        self.remat = remat
        stages = []
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
        """Computes logits; in training each BatchNorm uses batch statistics and updates its running statistics."""
        check_image(image, self.channels, smallest=1)
        with naming_layers(self):
            x = self.stem(image, train=train)
            for blocks in self.stages:
                x = run_blocks(blocks, x, train=train, remat=train and self.remat == "blocks")
            # Without it the CPU backend of jax 0.12 fuses the mean with convolutions; in bfloat16 with few layers the
            # result is NaN.
            x = lax.optimization_barrier(x)
            return self.head(jnp.mean(x, axis=(1, 2)))


def _block_options(
    block: Block,
    shortcut: str | None,
    shortcut_padding: str | None,
    stride_in: str | None,
    zero_init_last_gamma: bool | None,
) -> dict[str, Any]:
    """The options that this kind of block has, by default where None."""
    options: dict[str, Any] = {}
    if block.default_shortcut is not None:
        options["shortcut"] = block.default_shortcut if shortcut is None else shortcut
        options["shortcut_padding"] = "behind" if shortcut_padding is None else shortcut_padding
        options["zero_init_last_gamma"] = bool(zero_init_last_gamma)
        check_name("shortcut", options["shortcut"], SHORTCUTS)
        check_name("shortcut_padding", options["shortcut_padding"], SHORTCUT_PADDING)
        if shortcut_padding is not None and options["shortcut"] != "A":
            raise InputError(f"shortcut_padding={shortcut_padding!r}: only shortcut='A' pads, leave the option out")
    if block.default_stride_in is not None:
        options["stride_in"] = block.default_stride_in if stride_in is None else stride_in
        check_name("stride_in", options["stride_in"], STRIDE_IN)
    return options


RESNETS = {
    # [H15] table 1; the plain networks are those of section 3.3
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
