"""Local response normalization of [K12] and batch normalization of [H15]; statistics are always float32."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from resnet_alexnet.errors import InputError
from resnet_alexnet.models.layers import Layer, LayerError

BATCH_AXIS = "data"  # the mesh axis over which synchronized batch normalization averages


def check_values(layer: Layer, count: int, shape: tuple[int, ...]) -> None:
    """Raises LayerError if batch normalization in training is over one value per channel, as torch does.

    The value minus the mean is then 0, so that all images have the same output.

    Args:
        layer: the layer.
        count: images times pixels that are normalized together.
        shape: of the input on a device.
    """
    if count == 1:
        raise LayerError(
            layer,
            "batch normalization in training over 1 value per channel, which gives the same output for all images (its "
            f"input is {' x '.join(map(str, shape))}): raise batch_size or model.bn_group, or take larger images",
        )


class LocalResponseNorm(Layer):
    """b = a / (k + alpha sum_j a_j^2)^beta over a centered window of `size` adjacent channels, cut off at the edges.

    `alpha_over_size` divides alpha by `size`, as the author's cuda-convnet, Caffe and torch do. `groups` splits the
    channels into groups that are normalized separately: the paper's two towers do not communicate before the third
    layer, so each normalizes over its own kernel maps.

    Source: [K12] section 3.3 (k=2, n=5, alpha=1e-4, beta=0.75).
    """

    def __init__(
        self,
        *,
        size: int = 5,
        k: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        alpha_over_size: bool = False,
        groups: int = 1,
    ):
        if size < 1 or size % 2 == 0:
            raise InputError(f"lrn_size={size} (allowed: odd and positive, because the window is centered)")
        self.size, self.k, self.beta, self.groups = size, k, beta, groups
        self.alpha = alpha / size if alpha_over_size else alpha

    def forward(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch height width channels"]:
        """Normalizes; the sum and the power are computed in float32."""
        a = x.astype(jnp.float32).reshape(*x.shape[:-1], self.groups, x.shape[-1] // self.groups)
        # Sums over windows, as a product with a band matrix: several times faster on a CPU than adding shifted slices.
        channel = np.arange(a.shape[-1])
        band = np.abs(channel[:, None] - channel) <= self.size // 2
        total = jnp.matmul(jnp.square(a), band.astype(np.float32), precision="highest")
        scale = self.k + self.alpha * total
        if self.beta == 0.75:  # two roots are cheaper than a power
            root = jnp.sqrt(scale)
            b = a / (root * jnp.sqrt(root))
        else:
            b = a / scale**self.beta
        return b.reshape(x.shape).astype(x.dtype)


class BatchNorm(Layer):
    """Batch normalization over images and pixels, in groups of images (ghost batch norm).

    Args:
        channels: channels of the input.
        group: n: each run of n consecutive images of the global batch is normalized by its own statistics, as the n
            images on each GPU are in the paper (32 on ImageNet, 64 on CIFAR), so the result does not depend on the
            number of devices. None: all images of a device. "sync": the images of all devices.
        momentum: running = momentum * running + (1 - momentum) * mean over the groups.
        epsilon: added to the variance.
        unbiased_variance: whether the running variance divides by n - 1, as in torch. The variance that normalizes a
            batch always divides by n.
        zero_scale: whether the scale starts at 0 instead of 1.

    Source: [H15] section 3.4, after Ioffe and Szegedy 2015.
    """

    def __init__(
        self,
        channels: int,
        *,
        group: int | str | None = None,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        unbiased_variance: bool = False,
        zero_scale: bool = False,
    ):
        if not (group in (None, "sync") or (isinstance(group, int) and group >= 1)):
            raise InputError(
                f"bn_group is {group!r} (allowed: a positive number of images, None for one device, 'sync' for all)"
            )
        if not 0 <= momentum < 1:
            raise InputError(f"bn_momentum is {momentum!r} (allowed: 0 <= bn_momentum < 1)")
        self.scale = nnx.Param((jnp.zeros if zero_scale else jnp.ones)((channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros((channels,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((channels,), jnp.float32))
        self.group, self.momentum, self.epsilon = group, momentum, epsilon
        self.unbiased_variance = unbiased_variance

    def forward(
        self, x: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Normalizes by the statistics of each group in training, and updates the running statistics; else by those."""
        if not train or self.frozen:
            inverse = self.scale.get_value() * lax.rsqrt(self.var.get_value() + self.epsilon)
            return ((x.astype(jnp.float32) - self.mean.get_value()) * inverse + self.bias.get_value()).astype(x.dtype)
        batch, channels = x.shape[0], x.shape[-1]
        size = self.group if isinstance(self.group, int) else batch
        if batch % size:
            divisors = [n for n in range(1, batch + 1) if batch % n == 0]
            raise InputError(f"bn_group={size} does not divide the {batch} images of a device (allowed: {divisors})")
        grouped = x.astype(jnp.float32).reshape(batch // size, size, -1, channels)
        count = grouped.shape[1] * grouped.shape[2]
        if self.group == "sync":
            count *= lax.axis_size(BATCH_AXIS)
        check_values(self, count, x.shape)
        y, mean, var = _normalize_groups(
            grouped, self.scale.get_value(), self.bias.get_value(), epsilon=self.epsilon, sync=self.group == "sync"
        )
        self._move_statistics(mean, var, count)
        return y.reshape(x.shape).astype(x.dtype)

    def _move_statistics(self, mean: jax.Array, var: jax.Array, count: int) -> None:
        if self.unbiased_variance:
            var = var * (count / max(count - 1, 1))
        # set_raw_value: an ordinary assignment is checked against the whole trace, see the docstring of models.layers.
        self.mean.set_raw_value(self.momentum * self.mean.get_value() + (1 - self.momentum) * lax.stop_gradient(mean))
        self.var.set_raw_value(self.momentum * self.var.get_value() + (1 - self.momentum) * lax.stop_gradient(var))


@partial(jax.jit, static_argnames=("epsilon", "sync"))
def _normalize_groups(
    x: Float[Array, "groups images pixels channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    epsilon: float,
    sync: bool,
) -> tuple[Float[Array, "groups images pixels channels"], Float[Array, " channels"], Float[Array, " channels"]]:
    """The groups, each normalized by its own statistics, and the means of their means and variances.

    Jitted, so that layers with inputs of one shape are traced once, which takes a fifth to a quarter less time in all.
    """
    # Mean and mean square in one pass over the data, in float32 for any compute dtype.
    mean, mean_square = jnp.mean(x, (1, 2)), jnp.mean(jnp.square(x), (1, 2))
    if sync:
        mean, mean_square = lax.pmean((mean, mean_square), BATCH_AXIS)
    var = jnp.maximum(mean_square - jnp.square(mean), 0.0)
    inverse = scale * lax.rsqrt(var + epsilon)
    shift = bias - mean * inverse
    return x * inverse[:, None, None] + shift[:, None, None], mean.mean(0), var.mean(0)
