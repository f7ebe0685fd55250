"""A stand-in for the data of a dry run or a measurement: the shapes of a data set, without its files."""

from dataclasses import dataclass

import numpy as np

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.selection import held_out_start
from resnet_alexnet.data.sources import ProgressFn, Source, Splits, no_progress
from resnet_alexnet.data.statistics import Statistics
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train.crops import Group, fill_sizes

# Training images, classes, side in pixels and channels, as published; the side of photographs is that of their crops.
_PUBLISHED = {
    "cifar10": (50_000, 10, 32, 3),
    "cifar100": (50_000, 100, 32, 3),
    "mnist": (60_000, 10, 28, 1),
    "fashion_mnist": (60_000, 10, 28, 1),
    "imagenet2012": (1_281_167, 1000, None, 3),
    "synthetic": (1000, 10, 32, 3),  # the defaults of data.readers.synthetic
}
_SAMPLE = 5000  # training images of the embedded sample of fashion_mnist
_BALANCED = ("cifar10", "cifar100", "fashion_mnist")  # sets with equally many images of each class
_HAS_VALIDATION = ("imagenet2012",)  # sets from whose training images none is held out
_FIELDS = ("dataset.num_examples", "dataset.num_classes", "preprocess.image_size", "dataset.channels")


@dataclass(frozen=True)
class PhotographShapes:
    """Photographs that are cropped to `image_shape` as they are read, and cannot be read. A `sources.Source`."""

    classes: tuple[str, ...]
    labels: np.ndarray
    image_shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, indices: np.ndarray, draw: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
        """There are no images."""
        raise NotImplementedError("a stand-in has no images")

    def example(self, index: int) -> tuple[np.ndarray, int]:
        """There are no images."""
        raise NotImplementedError("a stand-in has no images")

    def where(self, index: int) -> str:
        """The name of the image in messages."""
        return f"image {index}"


def is_known(dataset: Group) -> bool:
    """Whether the shapes of a data set are known by its name."""
    return dataset["name"] in _PUBLISHED


def create_stand_in(
    dataset: Group,
    preprocess: Group,
    augment: Group,
    *,
    start: Preprocessing | None = None,
    test: bool = False,
    progress: ProgressFn = no_progress,
) -> Splits:
    """Splits with the shapes of a data set, in place of `inputs.read_splits`; no file is read.

    Args:
        dataset: the group of the config. Its num_examples (training images), num_classes and channels take precedence
            over what is known of the set by its name.
        preprocess: the group of the config, likewise for the image size.
        augment: the group of the config.
        start: the preprocessing of the weights to start from. It takes precedence over `preprocess`.
        test: not used; no step looks at a test split.
        progress: not used; there is nothing to wait for.

    Raises:
        InputError: a number is not known. The message names the field that gives it.
    """
    preprocess, augment = fill_sizes(preprocess, augment, start)
    crop = augment["crop"]
    set_fields = [dataset["num_examples"], dataset["num_classes"], preprocess["image_size"], dataset["channels"]]
    known: tuple[int | None, ...] = _PUBLISHED.get(dataset["name"], (None, None, None, 3 if crop != "none" else None))
    if dataset["name"] == "fashion_mnist" and not dataset["data_dir"]:
        known = (_SAMPLE, *known[1:])
    if dataset["classes"]:
        set_fields[1] = len(dataset["classes"])
        images, classes, *_ = known
        of_each = images // classes if images and classes and dataset["name"] in _BALANCED else None
        known = (of_each and of_each * len(dataset["classes"]), *known[1:])
    values = [own if own is not None else published for own, published in zip(set_fields, known, strict=True)]
    if unknown := [field for field, value in zip(_FIELDS, values, strict=True) if value is None]:
        raise InputError(
            f"no data is read here, and the shapes of dataset.name={dataset['name']!r} are not known by its name: "
            f"set {', '.join(unknown)}, as in --config.{unknown[0]}=1000"
        )
    images, classes, size, channels = (int(value or 0) for value in values)
    if min(images, classes, size, channels) < 1:
        raise InputError(f"the shapes of the data are {dict(zip(_FIELDS, values, strict=True))} (allowed: 1 or more)")
    fraction = 0.0 if dataset["name"] in _HAS_VALIDATION else dataset["validation_fraction"]
    train = held_out_start(images, fraction)
    names = tuple(f"class_{label}" for label in range(classes))
    side = size if crop == "none" else preprocess["shorter_side"] or size

    def create(count: int) -> Source:
        labels, shape = np.arange(count, dtype=np.int32) % classes, (size, size, channels)
        if crop != "none":
            return PhotographShapes(names, labels, shape)
        return ArraySource(np.broadcast_to(np.uint8(0), (count, *shape)), labels, names)  # takes no memory

    # Values that XLA cannot leave out of the program, as it could zeros.
    covariance = 900.0 * np.eye(channels) + 100.0
    statistics = Statistics(train, np.full((side, side, channels), 120.0), covariance)
    return Splits(create(train), create(max(1, images - train)), None, statistics)
