"""Subsets of a data set: a validation set held out of the training set, and selected classes; counts of classes."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Int, Int32

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.photos import Photos, PhotoSubset
from resnet_alexnet.errors import InputError, check_name, printable

MOST_CLASSES = 65_535  # more are a mistake

Images = ArraySource | Photos  # a split as read from its files


class NothingHeldOutError(InputError):
    """A training set that is too small for a part of it to be held out."""


class Labeled(Protocol):
    """A split as read from its files, or as it is opened for the loader."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        ...

    @property
    def labels(self) -> Int32[np.ndarray, "num_examples"] | None:
        """All labels, or None if they are only known by reading the images."""
        ...


def count_classes(images: Labeled) -> Int[np.ndarray, "num_classes"] | None:
    """Returns the number of images of each class; None if labels are only known by reading the images (TFDS)."""
    labels = images.labels
    return None if labels is None else np.bincount(labels, minlength=len(images.classes))


def report_lacking(images: Mapping[str, Images], report: Callable[[str], None]) -> None:
    """Reports each validation or test split that has no image of some of its classes, in a line."""
    for split, part in images.items():
        counts = count_classes(part)
        lacking = [] if counts is None or split == "train" else np.flatnonzero(counts == 0).tolist()
        if lacking:
            names = ", ".join(printable(part.classes[label]) for label in lacking[:5])
            names += f" and {len(lacking) - 5:,} more" * (len(lacking) > 5)
            report(f"the {split} split has no image of {len(lacking):,} of the {len(part.classes):,} classes: {names}")


def held_out_start(count: int, fraction: float) -> int:
    """Returns the index of the first of `count` examples to hold out: the last floor(fraction * count) are held out."""
    # The small term corrects rounding: 0.29 * 100 = 28.999999999999996 must give 29.
    return count - math.floor(fraction * count + 1e-9)


def hold_out(images: Images, fraction: float, *, name: str) -> tuple[Images, Images | None]:
    """Splits a training set into (train, validation), class by class, without randomness.

    The last examples of every class, in file order, become the validation set (see `held_out_start`). Fraction 0.1
    gives 4,500/500 for the embedded sample and 45k/5k for CIFAR-10. Both parts keep the file order. Fraction 0 holds
    nothing out.

    Raises:
        InputError: fraction is outside [0, 1).
        NothingHeldOutError: it is so small that no class gives an example.

    Source: [H15] section 4.2 (45k/5k).
    Departure: the paper does not say which 5k; this choice is reproducible.
    """
    check_fraction(fraction)
    if not fraction:
        return images, None
    labels = images.labels
    assert labels is not None, "hold_out needs known labels"
    held = np.zeros(len(labels), bool)
    for label in range(len(images.classes)):
        examples = np.flatnonzero(labels == label)
        held[examples[held_out_start(len(examples), fraction) :]] = True
    if not held.any():
        largest = int(np.bincount(labels).max())
        enough = f", as with --config.dataset.validation_fraction={math.ceil(100 / largest) / 100:g}" * (largest > 1)
        raise NothingHeldOutError(
            f"validation_fraction={fraction} holds out no image of {name}, whose largest class has {largest}: raise it"
            f"{enough}, or set 0 for no validation set"
        )
    return _take(images, ~held, labels[~held], images.classes), _take(images, held, labels[held], images.classes)


def select_classes(images: Images, classes: Sequence[str], *, name: str) -> Images:
    """Returns the examples of the given classes, in file order, relabeled 0, 1, ... in the order of `classes`.

    Raises:
        InputError: a class is unknown or given twice, or there are fewer than two.
    """
    classes = tuple(classes)
    for wanted in classes:
        check_name("class", wanted, images.classes)
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InputError(f"classes={classes}: give at least two class names, each once")
    new_labels = np.full(len(images.classes), -1, np.int32)
    new_labels[[images.classes.index(wanted) for wanted in classes]] = np.arange(len(classes))
    labels = new_labels[images.labels]
    keep = labels >= 0
    return _take(images, keep, labels[keep], classes)


def check_fraction(fraction: float) -> None:
    """Raises InputError unless `fraction` is in [0, 1)."""
    if not 0 <= fraction < 1:
        raise InputError(f"validation_fraction={fraction} (allowed: from 0, for no validation set, to below 1)")


def _take(images: Images, keep: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> Images:
    if isinstance(images, ArraySource):
        return dataclasses.replace(images, images=images.images[keep], labels=labels, classes=classes)
    return PhotoSubset(images, np.flatnonzero(keep), labels, classes)
