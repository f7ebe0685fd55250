"""Synthetic images of any size and number of classes, for dry runs and tests: cheap, deterministic, learnable."""

import numpy as np
from jaxtyping import Int32, UInt8

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.selection import held_out_start
from resnet_alexnet.errors import InputError

_GRID = 4  # each class's pattern is a grid of 4x4 flat patches, light or dark, over the whole image
_PATTERN_KEY, _NOISE_KEY = 1, 2  # separate random streams for patterns and noise
_SPLIT_KEYS = {"train": 0, "validation": 1, "test": 2}

Arrays = tuple[UInt8[np.ndarray, "num_examples height width channels"], Int32[np.ndarray, "num_examples"]]


def make_images(split: str, *, num_examples: int, image_size: int, channels: int, num_classes: int) -> Arrays:
    """Makes (images, labels): uniform noise in 0..127 plus 0 or 128 by the class's pattern. Labels are 0, 1, ..., 0, 1.

    All splits have the same patterns and different noise.

    Args:
        split: "train", "validation" or "test".
        num_examples: images in the split.
        image_size: height and width in pixels.
        channels: color channels.
        num_classes: number of classes.

    Raises:
        InputError: a size is below 1.
    """
    sizes = {
        "num_examples": num_examples,
        "image_size": image_size,
        "channels": channels,
        "num_classes": num_classes,
    }
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name}={size} for the {split} split of synthetic data (allowed: 1 and above)")
    patterns = np.random.default_rng([_PATTERN_KEY, num_classes, channels]).integers(
        2, size=(num_classes, _GRID, _GRID, channels), dtype=np.uint8
    )
    labels = np.arange(num_examples, dtype=np.int32) % num_classes
    images = np.random.default_rng([_NOISE_KEY, _SPLIT_KEYS[split]]).integers(
        128, size=(num_examples, image_size, image_size, channels), dtype=np.uint8
    )
    patch = np.arange(image_size) * _GRID // image_size
    # Class by class, to avoid a second array of the full size.
    for label, pattern in enumerate(patterns[:num_examples]):
        images[label::num_classes] += 128 * pattern[np.ix_(patch, patch)]
    return images, labels


def make_sources(
    *,
    validation_fraction: float,
    num_examples: int = 1000,
    image_size: int = 32,
    channels: int = 3,
    num_classes: int = 10,
) -> dict[str, ArraySource]:
    """Makes the splits of synthetic data. The test set has a fifth of `num_examples` additional images, at least one.

    The validation fraction applies to `num_examples` as a whole, not to each class. So a dry run with ImageNet's 1,000
    classes can have a validation set without ten images per class.
    """
    num_train = held_out_start(num_examples, validation_fraction)
    sizes = {
        "train": num_train,
        "validation": num_examples - num_train,
        "test": max(1, num_examples // 5),
    }
    if not validation_fraction:
        del sizes["validation"]
    names = tuple(f"class_{label}" for label in range(num_classes))
    shape = {"image_size": image_size, "channels": channels, "num_classes": num_classes}
    return {
        split: ArraySource(*make_images(split, num_examples=size, **shape), names, name=f"synthetic {split}")
        for split, size in sizes.items()
    }
