"""What runs on the device inside the step, from uint8: normalize, crop, flip, color, mixing.

Every draw has its image's own key, or in mixing its pair's.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Key, Num

from resnet_alexnet.errors import InputError, check_name

COLORS = ("none", "pca", "pca_std", "pca_community")
# The components of ImageNet's colors that circulate, of pixels in [0, 1]: eigenvalues, and eigenvectors, one a column.
# Source: fb.resnet.torch, datasets/imagenet.lua. They fit neither the variances nor the deviations that go with them.
_COMMUNITY_VALUES = np.array([0.2175, 0.0188, 0.0045])
_COMMUNITY_VECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]  # red, green, blue
)


def random_crop(
    image: Num[Array, "batch height width channels"], keys: Key[Array, " batch"], pad: int
) -> Num[Array, "batch height width channels"]:
    """Pads each side with `pad` zeros (the mean, after normalizing) and crops back to size at random.

    Source: [H15] section 4.2, after Lee et al. 2015 ("Deeply-supervised nets").
    """
    padded = jnp.pad(image, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    starts = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, 2 * pad + 1))(keys)
    return jax.vmap(lambda x, start: jax.lax.dynamic_slice(x, (start[0], start[1], 0), image.shape[1:]))(padded, starts)


def random_flip(
    image: Num[Array, "batch height width channels"], keys: Key[Array, " batch"]
) -> Num[Array, "batch height width channels"]:
    """Mirrors each image left to right with probability 1/2. Source: [K12] section 4.1."""
    flip = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(flip[:, None, None, None], image[:, :, ::-1], image)


def color_basis(
    name: str, covariance: Float64[np.ndarray, "channels channels"]
) -> Float64[np.ndarray, "channels components"] | None:
    """How far a draw of 1 shifts a pixel's color, in pixel values (0 to 255): one column a principal component.

    Args:
        name: "pca", each eigenvector of the covariance times its eigenvalue, of pixels in [0, 1]; "pca_std", times the
            eigenvalue's square root, as the author's code; "pca_community", as "pca" with the constants that circulate;
            "none", for which the result is None.
        covariance: of the training set's red, green and blue, in pixel values.

    Raises:
        InputError: the name is unknown, or the images have no three channels.

    Source: [K12] section 4.1; cuda-convnet2's convdata.py for "pca_std".
    Departure: the paper does not state the range of its pixels, on which eigenvalues depend; with pixels from 0 to 255
    a typical shift would be three times that range. The author's code also divides image and shift by 1.1, we do not.
    """
    check_name("augment.color", name, COLORS)
    if name == "none":
        return None
    if covariance.shape != (3, 3):
        raise InputError(
            f"augment.color={name!r} is for images of 3 channels, these have {len(covariance)} (use 'none')"
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

    Args:
        basis: in the units of the image, as `color_basis` divided by the standard deviations and times 0.1, the paper's
            standard deviation of a draw.
    """
    draws = jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)
    shift = (draws[:, None, :] * jnp.asarray(basis, jnp.float32)).sum(-1)  # in float32, which a GPU's product is not
    return (image.astype(jnp.float32) + shift[:, None, None, :]).astype(image.dtype)


def augment(
    image: Float[Array, "batch height width channels"],
    keys: Key[Array, " batch"],
    *,
    pad: int = 0,
    flip: bool = False,
    basis: Float[np.ndarray, "3 3"] | None = None,
) -> Float[Array, "batch height width channels"]:
    """The training view of normalized images: random crop, flip and color, each where asked for."""
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
    """Mixes the images of rows 0 and 1, 2 and 3, and so on, each with its neighbor, and their labels alike.

    A pair draws by the key of its first row, so the result does not depend on where a batch of an even number of images
    is divided. Each of its images keeps the share that was drawn and takes the rest from the other.

    Args:
        image: an even number, in random order.
        label: one row of class weights an image, or one column for a single-logit binary task.
        keys: one an image.
        mixup: alpha of the share's Beta(alpha, alpha) where images are averaged; 0 for never.
        cutmix: the same where a box of the image is replaced; 0 for never. With both above 0 each pair takes one, at even
            odds.

    Source: Zhang et al. 2018, "mixup"; Yun et al. 2019, "CutMix", whose label share is that of the clipped box.
    Departure: in both papers' code one share serves the batch, and an image's partner is any other of it.
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
    """0 within a box of area 1 - `share` around a random pixel, as far as it lies in the image, and 1 outside."""
    inside = []
    for pixels, axis_key in zip(size, jax.random.split(key), strict=True):
        center = jax.random.randint(axis_key, (), 0, pixels)
        half = jnp.floor(jnp.sqrt(1.0 - share) * pixels / 2)
        position = jnp.arange(pixels)
        inside.append((position >= center - half) & (position < center + half))
    return 1.0 - (inside[0][:, None] & inside[1])


def _blend(x: Float[Array, "batch ..."], weight: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """`weight` of each row and the rest of its neighbor, row number XOR 1."""
    neighbor = x.reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(x.shape)
    return weight * x + (1.0 - weight) * neighbor
