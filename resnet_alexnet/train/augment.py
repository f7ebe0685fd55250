"""The augmentation that runs on the device, inside the training step: crop, flip, color, mixup and CutMix.

Each image has its own random key; mixing uses one key per pair of images.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Key, Num

from resnet_alexnet.errors import InputError, check_name

COLORS = ("none", "pca", "pca_std", "pca_community")
# The widely copied principal components of ImageNet's colors, for pixels in [0, 1]: eigenvalues, and eigenvectors, one
# per column. Source: fb.resnet.torch, datasets/imagenet.lua. They agree neither with the variances nor with the
# standard deviations that are published with them.
_COMMUNITY_VALUES = np.array([0.2175, 0.0188, 0.0045])
_COMMUNITY_VECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]  # red, green, blue
)


def random_crop(
    image: Num[Array, "batch height width channels"], keys: Key[Array, " batch"], pad: int
) -> Num[Array, "batch height width channels"]:
    """Pads each side with `pad` zeros (the mean, after normalization) and takes a random crop of the original size.

    Source: [H15] section 4.2, after Lee et al. 2015 ("Deeply-supervised nets").
    """
    padded = jnp.pad(image, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    starts = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, 2 * pad + 1))(keys)
    return jax.vmap(lambda x, start: jax.lax.dynamic_slice(x, (start[0], start[1], 0), image.shape[1:]))(padded, starts)


def random_flip(
    image: Num[Array, "batch height width channels"], keys: Key[Array, " batch"]
) -> Num[Array, "batch height width channels"]:
    """Flips each image left to right with probability 1/2. Source: [K12] section 4.1."""
    flip = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(flip[:, None, None, None], image[:, :, ::-1], image)


def color_basis(
    name: str, covariance: Float64[np.ndarray, "channels channels"]
) -> Float64[np.ndarray, "channels components"] | None:
    """The color shift of a draw of 1, in pixel values (0 to 255): one column per principal component.

    Args:
        name: "pca", each eigenvector of the covariance times its eigenvalue, for pixels in [0, 1]; "pca_std", times the
            square root of the eigenvalue, as in the author's code; "pca_community", as "pca" with the widely copied
            constants; "none", for which the result is None.
        covariance: of the red, green and blue of the training set, in squared pixel values.

    Raises:
        InputError: the name is unknown, or the images do not have three channels.

    Source: [K12] section 4.1; cuda-convnet2's convdata.py for "pca_std".
    Departure: the eigenvalues depend on the range of the pixels, which the paper does not state. With pixels from 0 to
    255 a typical shift would be three times that range, so we use 0 to 1. The author's code also divides image and
    shift by 1.1; we do not.
    """
    check_name("augment.color", name, COLORS)
    if name == "none":
        return None
    if covariance.shape != (3, 3):
        raise InputError(
            f"augment.color={name!r} needs images with 3 channels, but these have {len(covariance)}: set it to 'none'"
        )
    if name == "pca_community":
        return 255.0 * _COMMUNITY_VECTORS * _COMMUNITY_VALUES
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0.0)  # rounding makes the eigenvalues of gray images slightly negative
    return vectors * (np.sqrt(values) if name == "pca_std" else values / 255.0)


def random_color(
    image: Num[Array, "batch height width 3"], keys: Key[Array, " batch"], basis: Float[np.ndarray, "3 3"]
) -> Num[Array, "batch height width 3"]:
    """Shifts the color of each image by `basis` times three standard normal draws. Source: [K12] section 4.1.

    `basis` is in the units of the image: `color_basis` divided by the standard deviations of the pixels, times 0.1, the
    paper's standard deviation of a draw.
    """
    draws = jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)
    shift = (draws[:, None, :] * jnp.asarray(basis, jnp.float32)).sum(
        -1
    )  # not a matmul, which GPUs do not compute in float32
    return (image.astype(jnp.float32) + shift[:, None, None, :]).astype(image.dtype)


def augment(
    image: Float[Array, "batch height width channels"],
    keys: Key[Array, " batch"],
    *,
    pad: int = 0,
    flip: bool = False,
    basis: Float[np.ndarray, "3 3"] | None = None,
) -> Float[Array, "batch height width channels"]:
    """Augments normalized images: a random crop if `pad` is above 0, a random flip, and a color shift by `basis`."""
    crop_keys, flip_keys, color_keys = jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0)
    if pad:
        image = random_crop(image, crop_keys, pad)
    if flip:
        image = random_flip(image, flip_keys)
    if basis is not None:
        image = random_color(image, color_keys, basis)
    return image


def mix(
    image: Num[Array, "batch height width channels"],
    label: Float[Array, "batch classes"],
    keys: Key[Array, " batch"],
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> tuple[Num[Array, "batch height width channels"], Float[Array, "batch classes"]]:
    """Mixes pairs of images, and their labels in the same proportion: rows 0 and 1, rows 2 and 3, and so on.

    Each image keeps the share that its pair draws and takes the rest from its neighbor. A pair uses the key of its
    first row, so the result does not depend on how a batch is divided among devices, if each has an even number.

    Args:
        image: an even number of images, in random order.
        label: one row of class weights per image, or one column for a single-logit binary task.
        keys: one key per image.
        mixup: alpha of the Beta(alpha, alpha) distribution of the share, for mixup, which averages images; 0: off.
        cutmix: the same for CutMix, which replaces a box of the image; 0: off. If both are above 0, each pair uses one
            of the two with equal probability.

    Source: Zhang et al. 2018, "mixup"; Yun et al. 2019, "CutMix", whose label share is that of the clipped box.
    Departure: in the code of both papers one share serves the whole batch, and any image may be the partner.
    """
    _, *size, _ = image.shape

    def pair_weight(key: Key[Array, ""]) -> Float[Array, "height width"]:
        choice_key, share_key, box_key = jax.random.split(key, 3)
        by_box = jax.random.bernoulli(choice_key) if mixup and cutmix else cutmix > 0
        alpha = jnp.where(by_box, cutmix, mixup)
        share = jax.random.beta(share_key, alpha, alpha)
        return jnp.where(by_box, _outside_box(box_key, share, size), share)

    weight = jnp.repeat(jax.vmap(pair_weight)(keys[::2]), 2, axis=0)
    label_weight = weight.mean((1, 2))[:, None]
    image = _blend(image.astype(jnp.float32), weight[..., None]).astype(image.dtype)
    return image, _blend(label, label_weight)


def _outside_box(key: Key[Array, ""], share: Float[Array, ""], size: Sequence[int]) -> Float[Array, "height width"]:
    """0 inside a box of area 1 - `share` around a random pixel, clipped to the image; 1 outside."""
    inside = []
    for pixels, axis_key in zip(size, jax.random.split(key), strict=True):
        center = jax.random.randint(axis_key, (), 0, pixels)
        half = jnp.floor(jnp.sqrt(1.0 - share) * pixels / 2)
        position = jnp.arange(pixels)
        inside.append((position >= center - half) & (position < center + half))
    return 1.0 - (inside[0][:, None] & inside[1])


def _blend(x: Float[Array, "batch ..."], weight: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """Blends each row, by `weight`, with its neighbor, the row whose index is its own XOR 1."""
    neighbor = x.reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(x.shape)
    return weight * x + (1.0 - weight) * neighbor
