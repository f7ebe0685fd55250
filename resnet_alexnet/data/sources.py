"""Sources: labelled images with random access by index, and the training, validation and test splits made of them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Int, Int32, UInt8

from resnet_alexnet.data import cifar, fashion_mnist, synthetic
from resnet_alexnet.errors import InputError, check_name

SOURCES = ("fashion_mnist", "cifar10", "synthetic", "imagenet2012")


class Source(Protocol):
    """What the loader asks of a data set. Whatever implements it, in memory or on disk, can be trained on."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image, pixels."""
        ...

    def __len__(self) -> int: ...

    def gather(self, indices: Int[np.ndarray, "batch"]) -> dict[str, np.ndarray]:
        """The examples at `indices`: `image` UInt8 (batch, height, width, channels), `label` Int32 (batch,)."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySource:
    """A source held in memory, checked when it is made.

    Attributes:
      images: all images.
      labels: the class index of each image.
      classes: class names.
      name: what to call this data in an error.

    Raises:
      InputError: no images; arrays of another type or shape; a label that is no index into `classes`.
    """

    images: UInt8[np.ndarray, "num_examples height width channels"]
    labels: Int32[np.ndarray, "num_examples"]
    classes: tuple[str, ...]
    name: str = "source"

    def __post_init__(self):
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4:
            raise InputError(
                f"{self.name}: images are {images.dtype} of shape {images.shape}; "
                "they must be uint8 (num_examples, height, width, channels)"
            )
        if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
            raise InputError(
                f"{self.name}: labels are {labels.dtype} of shape {labels.shape}; "
                f"they must be int32 of shape {images.shape[:1]}, one for each image"
            )
        if not len(images):
            raise InputError(f"{self.name}: holds no images")
        bad = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if len(bad):
            raise InputError(
                f"{self.name}: the label of example {bad[0]} is {labels[bad[0]]}; "
                f"allowed are 0 to {len(self.classes) - 1}, one for each class"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image, pixels."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def gather(self, indices: Int[np.ndarray, "batch"]) -> dict[str, np.ndarray]:
        """The examples at `indices`: `image` UInt8 (batch, height, width, channels), `label` Int32 (batch,)."""
        return {"image": self.images[indices], "label": self.labels[indices]}


@dataclasses.dataclass(frozen=True)
class Splits:
    """The parts of one data set; `validation` and `test` are None where there is none."""

    train: ArraySource
    validation: ArraySource | None
    test: ArraySource | None


def create_splits(
    name: str,
    *,
    data_dir: str = "",
    validation_fraction: float = 0.1,
    classes: Sequence[str] = (),
    image_size: int | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
    num_examples: int | None = None,
) -> Splits:
    """Reads or makes the data set `name` and splits it. Validation is never taken from the test set.

    Args:
      name: "fashion_mnist" (the embedded sample, or the full set of `data_dir`), "cifar10" or "synthetic".
      data_dir: folder of the published files; empty for what needs none.
      validation_fraction: part of the training set held out, in [0, 1); see `hold_out`.
      classes: names of the classes to keep, relabelled in this order; empty keeps all.
      image_size: height and width in pixels. Chosen here for "synthetic" (default 32); for data that is read, None
        or what the data has. So are the next three.
      channels: colour channels (synthetic: 3).
      num_classes: classes before `classes` selects (synthetic: 10).
      num_examples: training examples before the split and the selection (synthetic: 1000).

    Raises:
      InputError: unknown name; missing or damaged files; an option out of range or in conflict with the data.
    """
    check_name("dataset name", name, SOURCES)
    check_fraction(validation_fraction)
    if name == "imagenet2012":
        raise InputError(
            "reading imagenet2012 is not there yet; dataset.name=synthetic gives a dry run of the same recipe"
        )
    if name == "synthetic":
        if data_dir:
            raise InputError(f"data_dir={data_dir!r}: synthetic data is made, not read; leave data_dir empty")
        return _synthetic_splits(
            validation_fraction=validation_fraction,
            classes=classes,
            num_examples=1000 if num_examples is None else num_examples,
            image_size=32 if image_size is None else image_size,
            channels=3 if channels is None else channels,
            num_classes=10 if num_classes is None else num_classes,
        )
    if name == "cifar10":
        train, test, own_classes = cifar.read_cifar10(data_dir)
    else:
        train, test = fashion_mnist.read_full(data_dir) if data_dir else fashion_mnist.read_sample()
        own_classes = fashion_mnist.CLASSES
    train = ArraySource(*train, own_classes, name=f"{name} train")
    test = ArraySource(*test, own_classes, name=f"{name} test")
    height, _, own_channels = train.image_shape
    _check_conflict(name, "image_size", image_size, height)
    _check_conflict(name, "channels", channels, own_channels)
    _check_conflict(name, "num_classes", num_classes, len(own_classes))
    _check_conflict(name, "num_examples", num_examples, len(train))
    if classes:
        train, test = select_classes(train, classes), select_classes(test, classes)
    return Splits(*hold_out(train, validation_fraction), test)


def hold_out(source: ArraySource, fraction: float) -> tuple[ArraySource, ArraySource | None]:
    """Splits a training set into (train, validation), class by class, without randomness.

    The last floor(fraction * count) examples of every class, in file order, are the validation set: 4,500/500 of the
    embedded sample, 45k/5k of CIFAR-10 for 0.1. Both parts keep the file order. Fraction 0 holds nothing out.

    Raises:
      InputError: fraction outside [0, 1), or so small that no class gives an example.

    Source: He 2015, section 4.2 (45k/5k). Departure: the paper does not say which 5k; this choice is reproducible.
    """
    check_fraction(fraction)
    if not fraction:
        return source, None
    held = np.zeros(len(source), bool)
    for label in range(len(source.classes)):
        examples = np.flatnonzero(source.labels == label)
        # The small term keeps 0.29 * 100 = 28.999999999999996 from losing an example.
        held[examples[len(examples) - math.floor(fraction * len(examples) + 1e-9) :]] = True
    if not held.any():
        raise InputError(
            f"validation_fraction={fraction} holds out no example of {source.name}: its largest class has "
            f"{np.bincount(source.labels).max()}; raise it, or set 0 for no validation set"
        )
    return _subset(source, ~held), _subset(source, held)


def select_classes(source: ArraySource, classes: Sequence[str]) -> ArraySource:
    """The examples of the named classes, in file order, relabelled 0, 1, ... in the order of `classes`.

    Raises:
      InputError: an unknown or repeated name, or fewer than two.
    """
    classes = tuple(classes)
    for name in classes:
        check_name("class", name, source.classes)
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InputError(f"classes={classes}: give at least two names, each once")
    new_labels = np.full(len(source.classes), -1, np.int32)
    new_labels[[source.classes.index(name) for name in classes]] = np.arange(len(classes))
    labels = new_labels[source.labels]
    keep = labels >= 0
    return ArraySource(source.images[keep], labels[keep], classes, name=f"{source.name}, selected classes")


def check_fraction(fraction: float) -> None:
    """Raises InputError unless `fraction` is in [0, 1)."""
    if not 0 <= fraction < 1:
        raise InputError(f"validation_fraction={fraction}: allowed are 0 (none) up to, not including, 1")


def _subset(source: ArraySource, keep: np.ndarray) -> ArraySource:
    return dataclasses.replace(source, images=source.images[keep], labels=source.labels[keep])


def _check_conflict(name: str, option: str, value: int | None, own: int) -> None:
    """Raises InputError when the user asks for another value than the data has."""
    if value not in (None, own):
        raise InputError(f"{option}={value}: {name} has {own}, and it cannot be changed; leave it unset")


def _synthetic_splits(
    *, validation_fraction: float, classes: Sequence[str], num_examples: int, num_classes: int, **shape: int
) -> Splits:
    """Splits of synthetic data. A test set of a fifth of `num_examples` (at least one) comes on top.

    Validation is the share of `num_examples` as a whole, not by class: a dry run of ImageNet's 1,000 classes need not
    make ten images of each to have a validation set.
    """
    num_validation = math.floor(validation_fraction * num_examples + 1e-9)
    sizes = {
        "train": num_examples - num_validation,
        "validation": num_validation,
        "test": max(1, num_examples // 5),
    }
    if not validation_fraction:
        del sizes["validation"]
    names = tuple(f"class_{label}" for label in range(num_classes))
    splits = {}
    for split, size in sizes.items():
        arrays = synthetic.make_images(split, num_examples=size, num_classes=num_classes, **shape)
        source = ArraySource(*arrays, names, name=f"synthetic {split}")
        splits[split] = select_classes(source, classes) if classes else source
    return Splits(splits["train"], splits.get("validation"), splits["test"])
