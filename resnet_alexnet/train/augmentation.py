"""From a config to what happens to images on the device before the network sees them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from resnet_alexnet import losses
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train import augment, steps

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def create_normalize(config: ConfigDict, preprocessing: Preprocessing) -> steps.Normalize:
    """The preprocessing's normalization, in the config's precision."""
    return partial(preprocessing.normalize, dtype=DTYPES[config.precision])


def create_augment(config: ConfigDict, preprocessing: Preprocessing, covariance: np.ndarray | None) -> steps.Augment:
    """The training views: random crop, flip and color; the covariance is of the training set's channels."""
    basis = None if covariance is None else augment.color_basis(config.augment.color, covariance)
    if basis is not None:
        basis = config.augment.color_std * basis / preprocessing.std[:, np.newaxis]
    return partial(augment.augment, pad=config.augment.pad, flip=config.augment.flip, basis=basis)


def create_mix(config: ConfigDict, num_classes: int, device_batch_size: int) -> steps.Mix | None:
    """Mixup and CutMix of neighbors in the batch; None where both are off."""
    alphas = {"mixup": config.augment.mixup, "cutmix": config.augment.cutmix}
    if not any(alphas.values()):
        return None
    if device_batch_size % 2:
        raise InputError(
            f"augment.mixup and augment.cutmix mix pairs of images, but each device has {device_batch_size} of a step: "
            f"choose a batch_size that gives it an even number, such as {config.batch_size * 2}, or set both to 0"
        )

    def mix(image: jax.Array, label: jax.Array, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        return augment.mix(image, losses.targets(label, num_classes), keys, **alphas)

    return mix
