"""What runs on the device inside the step, from uint8: normalise, crop, flip. Every draw has its image's own key."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Num, UInt8


def normalize(
    image: UInt8[Array, "batch height width channels"],
    mean: np.ndarray,
    std: np.ndarray,
    dtype: jnp.dtype,
) -> Num[Array, "batch height width channels"]:
    """(image - mean) / std in float32, then cast to `dtype`; mean and std are in pixel values, 0 to 255.

    mean broadcasts: one value, one a channel, or one a pixel. Source: [K12] section 2 (per-pixel mean).
    """
    return ((image.astype(jnp.float32) - mean) / std).astype(dtype)


def random_crop(
    image: Num[Array, "batch height width channels"], keys: Key[Array, " batch"], pad: int
) -> Num[Array, "batch height width channels"]:
    """Pads each side with `pad` zeros (the mean, after normalising) and crops back to size at random.

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


def augment(
    image: Float[Array, "batch height width channels"], keys: Key[Array, " batch"], *, pad: int = 0, flip: bool = False
) -> Float[Array, "batch height width channels"]:
    """The training view of normalised images: random crop, then random flip, each where asked for."""
    crop_keys, flip_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    if pad:
        image = random_crop(image, crop_keys, pad)
    if flip:
        image = random_flip(image, flip_keys)
    return image
