"""The building blocks of the plain and residual networks: [H15] sections 3.3, 3.4 and 4.1, figures 2 and 5."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_alexnet.errors import InputError
from resnet_alexnet.models.initializers import he_normal
from resnet_alexnet.models.layers import ACTIVATIONS, Convolution
from resnet_alexnet.models.recomputation import materialize


class ConvolutionNorm(nnx.Module):
    """A convolution without bias, then batch normalization, before the activation. Source: [H15] section 3.4."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        strides: int = 1,
        norm: partial,
        key: jax.Array,
        **norm_options: Any,
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
        """Convolves and normalizes."""
        return self.norm(self.conv(x), train=train)


class PlainBlock(nnx.Module):
    """Two 3x3 convolutions without a shortcut: two layers of the plain networks. Source: [H15] section 3.3."""

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
    """The shortcut of a residual block: the identity if the shape does not change, else by option.

    Option A pads the strided identity with zero channels and has no parameters. Option B projects by a 1x1 convolution
    only if the shape changes. Option C always projects. `padding` is where the zero channels of option A are: "behind"
    the channels of the identity, or on "both" sides of them, half each.

    Source: [H15] sections 3.3, 4.1.
    """

    def __init__(
        self,
        option: str,
        in_channels: int,
        out_channels: int,
        *,
        strides: int,
        padding: str,
        norm: partial,
        key: jax.Array,
    ):
        changes = strides != 1 or in_channels != out_channels
        project = option == "C" or (option == "B" and changes)
        self.projection = (
            ConvolutionNorm(in_channels, out_channels, 1, strides=strides, norm=norm, key=key) if project else None
        )
        self.strides = strides
        new = out_channels - in_channels
        if new < 0 and not project:
            raise InputError(
                f"a shortcut of option A cannot shrink {in_channels} channels to {out_channels}: set shortcut='B', or "
                "a stem_width that is not larger than width"
            )
        before = new // 2 if padding == "both" else 0
        self.new_channels = (before, new - before)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """The tensor that is added to the residual function."""
        if self.projection is not None:
            return self.projection(x, train=train)
        x = x[:, :: self.strides, :: self.strides]
        return jnp.pad(x, [(0, 0), (0, 0), (0, 0), self.new_channels]) if any(self.new_channels) else x


class BasicBlock(nnx.Module):
    """y = act(F(x) + shortcut(x)), where F is two 3x3 convolutions. Source: [H15] figure 5, left."""

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
        shortcut_padding: str,
        zero_init_last_gamma: bool,
        norm: partial,
        key: jax.Array,
    ):
        key1, key2, key3 = jax.random.split(key, 3)
        self.conv1 = ConvolutionNorm(in_channels, width, 3, strides=strides, norm=norm, key=key1)
        self.conv2 = ConvolutionNorm(width, width, 3, norm=norm, zero_scale=zero_init_last_gamma, key=key2)
        self.shortcut = Shortcut(
            shortcut, in_channels, width, strides=strides, padding=shortcut_padding, norm=norm, key=key3
        )
        self.activation = activation

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Adds the residual function to the shortcut; the last activation is after the addition."""
        act = ACTIVATIONS[self.activation]
        residual = self.conv2(act(self.conv1(x, train=train)), train=train)
        return materialize(act(residual + self.shortcut(x, train=train)))


class Bottleneck(nnx.Module):
    """y = act(F(x) + shortcut(x)), where F is 1x1, 3x3 and 1x1 convolutions, the last with four times the channels.

    `stride_in` is the convolution with the stride: "1x1", the first, as in He's published networks, or "3x3", the
    second, as in torchvision.

    Source: [H15] figure 5, right.
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
        shortcut_padding: str,
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
        self.shortcut = Shortcut(
            shortcut, in_channels, 4 * width, strides=strides, padding=shortcut_padding, norm=norm, key=keys[3]
        )
        self.activation = activation

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Adds the residual function to the shortcut; the last activation is after the addition."""
        act = ACTIVATIONS[self.activation]
        residual = act(self.conv1(x, train=train))
        residual = act(self.conv2(residual, train=train))
        residual = self.conv3(residual, train=train)
        return materialize(act(residual + self.shortcut(x, train=train)))


Block = type[PlainBlock] | type[BasicBlock] | type[Bottleneck]
