"""Sources: labelled images with random access by index, and the training, validation and test splits made of them."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int

from resnet_alexnet.data import cifar, fashion_mnist, image_folder, mnist, npz, synthetic, tfds
from resnet_alexnet.data.arrays import ArraySource, Draw
from resnet_alexnet.data.decode import UnreadableImageError, decode
from resnet_alexnet.data.geometry import whole_view
from resnet_alexnet.data.photos import Photos, PhotoSource, View, load
from resnet_alexnet.data.selection import Images, check_fraction, hold_out, select_classes
from resnet_alexnet.data.statistics import Statistics, load_statistics
from resnet_alexnet.errors import InputError, check_name, nearest

# Sets with a reader of their own for the files as they are published; any other name is looked up in TFDS's folders.
PUBLISHED = ("cifar10", "cifar100", "fashion_mnist", "mnist")
OWN_NAMES = (*PUBLISHED, "image_folder", "npz", "synthetic")
STATISTICS_FILE = "statistics.npz"  # beside the files of a prepared set
IN_MEMORY = ("auto", "yes", "no")
MEMORY_BYTES = 2**31  # "auto" keeps sets of up to 2 GiB in memory

Track = Callable[[Iterable, int, str], Iterable]  # (items, how many, description) -> the items, showing how far it is


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

    def gather(self, indices: Int[np.ndarray, "batch"], draw: Draw | None = None) -> dict[str, np.ndarray]:
        """The examples at `indices`: `image` UInt8 (batch, height, width, channels), `label` Int32 (batch,).

        draw: what random views depend on, besides the index; None gives the views for testing.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Splits:
    """The parts of one data set; `validation` and `test` are None where there is none.

    statistics: those of the whole training set, where they were stored with it.
    """

    train: Source
    validation: Source | None
    test: Source | None
    statistics: Statistics | None = None


@dataclasses.dataclass(frozen=True)
class Views:
    """How photographs of any size are cropped to squares of `size` pixels; see data/geometry.py."""

    size: int
    train: View
    test: View


def untracked(items: Iterable, length: int, description: str) -> Iterable:
    """A `Track` that shows nothing."""
    return items


def create_splits(
    name: str,
    *,
    data_dir: str = "",
    train_split: str = "",
    validation_split: str = "",
    test_split: str = "",
    validation_fraction: float = 0.1,
    classes: Sequence[str] = (),
    views: Views | None = None,
    in_memory: str = "auto",
    image_size: int | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
    num_examples: int | None = None,
    track: Track = untracked,
    report: Callable[[str], None] = print,
) -> Splits:
    """Reads or makes the data set `name` and splits it. Validation is never taken from the test set.

    Args:
      name: one of OWN_NAMES, or a TFDS image classification set.
      data_dir: folder (for "npz", file) of the set; empty for what needs none.
      train_split: of a TFDS set, in its syntax, such as "train[:45000]"; empty: what is not held out.
      validation_split: likewise; empty: its own, or what is held out.
      test_split: likewise; empty: its own, if it has labels.
      validation_fraction: part of the training set held out, in [0, 1), where the set has no validation split.
      classes: names of the classes to keep, relabelled in this order; empty keeps all.
      views: crops of photographs; None takes images as they are, which must then all have one size.
      in_memory: keep images that are taken as they are in memory: "yes", "no", "auto" (up to MEMORY_BYTES).
      image_size: height and width in pixels, of "synthetic" (default 32); for data that is read, None or what the data
        (or the views) have.
      channels: colour channels, likewise (synthetic: 3).
      num_classes: of "synthetic" alone, before `classes` selects (10).
      num_examples: of "synthetic" alone, training examples before the split and the selection (1000).
      track: shows how far the decoding of a set that goes into memory is.
      report: called with a line for each image that could not be read and was replaced on the way into memory.

    Raises:
      InputError: unknown name; missing or damaged files; an option out of range or in conflict with the data.
    """
    check_fraction(validation_fraction)
    check_name("dataset.in_memory", in_memory, IN_MEMORY)
    asked = {"image_size": image_size, "channels": channels, "num_classes": num_classes, "num_examples": num_examples}
    if name == "synthetic":
        if data_dir:
            raise InputError(f"data_dir={data_dir!r}: synthetic data is made, not read; leave data_dir empty")
        return _synthetic_splits(validation_fraction=validation_fraction, classes=classes, **_with_defaults(asked))
    chosen = {"train_split": train_split, "validation_split": validation_split, "test_split": test_split}
    images = _read(name, data_dir, validation_fraction=validation_fraction, splits=chosen)
    statistics = _stored_statistics(images["train"])
    images, classes = _divide(images, validation_fraction, classes, name=name)
    opened = {split: _open(part, views, in_memory, f"{name} {split}", track, report) for split, part in images.items()}
    height, _, own_channels = opened["train"].image_shape
    _check_conflict(name, "image_size", image_size, height)
    _check_conflict(name, "channels", channels, own_channels)
    if classes:
        opened = {split: _select_loaded(source, classes, f"{name} {split}") for split, source in opened.items()}
    return Splits(opened["train"], opened.get("validation"), opened.get("test"), statistics)


def _read(name: str, data_dir: str, *, validation_fraction: float, splits: Mapping[str, str]) -> Mapping[str, Images]:
    """The splits of the set `name` as its files have them, in memory or as encoded photographs."""
    if name in OWN_NAMES and (name not in PUBLISHED or not tfds.find_tfds(name, data_dir)):
        for option, value in splits.items():
            if value:
                raise InputError(f"dataset.{option}={value!r} is for the sets of TFDS; leave it empty for {name}")
        return _OWN_READERS[name](data_dir)
    if not data_dir:
        raise InputError(
            f"dataset name {name!r}{nearest(name, OWN_NAMES)}: {name} is none of {', '.join(OWN_NAMES)}; to read it as "
            "a TFDS set, set data_dir to the folder that holds it"
        )
    return tfds.read_tfds(name, data_dir, validation_fraction=validation_fraction, **splits)


def _read_arrays(name: str, read: Callable[[str], Any]) -> Callable[[str], dict[str, ArraySource]]:
    """A reader of training and test arrays, as a reader of splits."""

    def read_splits(data_dir: str) -> dict[str, ArraySource]:
        train, test, classes = read(data_dir)
        return {
            split: ArraySource(images, labels, classes, name=f"{name} {split}")
            for split, (images, labels) in (("train", train), ("test", test))
        }

    return read_splits


_OWN_READERS: dict[str, Callable[[str], Mapping[str, Images]]] = {
    "cifar10": _read_arrays("cifar10", cifar.read_cifar10),
    "cifar100": _read_arrays("cifar100", cifar.read_cifar100),
    "fashion_mnist": _read_arrays("fashion_mnist", fashion_mnist.read_fashion_mnist),
    "mnist": _read_arrays("mnist", mnist.read_mnist),
    "image_folder": image_folder.read_image_folder,
    "npz": npz.read_npz,
}


def _divide(
    images: Mapping[str, Images], validation_fraction: float, classes: Sequence[str], *, name: str
) -> tuple[dict[str, Images], Sequence[str]]:
    """Holds the validation set out and selects the classes, as far as the labels are known before the images are read.

    Returns:
      The splits, and the classes that are still to be selected.
    """
    divided = dict(images)
    if classes and all(part.labels is not None for part in divided.values()):
        divided = {split: select_classes(part, classes, name=f"{name} {split}") for split, part in divided.items()}
        classes = ()
    if "validation" not in divided:
        train, validation = hold_out(divided["train"], validation_fraction, name=f"{name} train")
        divided |= {"train": train} if validation is None else {"train": train, "validation": validation}
    return divided, classes


def _open(
    images: Images, views: Views | None, in_memory: str, name: str, track: Track, report: Callable[[str], None]
) -> Source:
    """The source of these images: cropped photographs, or images as they are, and then in memory or not."""
    if isinstance(images, ArraySource):
        return images
    if views is not None:
        if in_memory == "yes":
            raise InputError(
                "dataset.in_memory='yes' is for images that are taken as they are (augment.geometry='none'); "
                "photographs are cropped as they are read"
            )
        return PhotoSource(images, (views.size, views.size, images.channels), views.train, views.test)
    source = PhotoSource(images, _first_shape(images, name), whole_view, whole_view)
    fits = len(source) * math.prod(source.image_shape) <= MEMORY_BYTES
    if in_memory == "no" or (in_memory == "auto" and not fits):
        return source
    return load(source, name=name, strict=not name.endswith(" train"), track=track, report=report)


def _first_shape(photos: Photos, name: str) -> tuple[int, int, int]:
    """The shape of the first image that can be read."""
    for index in range(len(photos)):
        with contextlib.suppress(UnreadableImageError):
            return decode(photos.read(index)[0], channels=photos.channels).shape
    raise InputError(f"{name}: none of {len(photos)} images can be read")


def _select_loaded(source: Source, classes: Sequence[str], name: str) -> ArraySource:
    """Some classes of a set whose labels stand beside its images, once they are in memory."""
    if not isinstance(source, ArraySource):
        raise InputError(
            f"{name} is streamed, and its labels are known only as its records are read: no classes can be chosen "
            "(allowed: an image folder, or a set that fits into memory)"
        )
    selected = select_classes(source, classes, name=name)
    assert isinstance(selected, ArraySource)
    return selected


def _stored_statistics(train: Images) -> Statistics | None:
    """The statistics that lie beside the files of a prepared set, if they are those of just this training set."""
    if not isinstance(train, tfds.TfdsPhotos):
        return None
    path = train.folder / STATISTICS_FILE
    statistics = load_statistics(path) if path.exists() else None
    return statistics if statistics is not None and statistics.count == len(train) else None


def _check_conflict(name: str, option: str, value: int | None, own: int) -> None:
    """Raises InputError when the user asks for another value than the data has."""
    if value not in (None, own):
        raise InputError(f"{option}={value}: {name} has {own}, and it cannot be changed; leave it unset")


def _with_defaults(asked: Mapping[str, int | None]) -> dict[str, int]:
    """The sizes of synthetic data that were asked for, and for the others what they are by default."""
    defaults = {"image_size": 32, "channels": 3, "num_classes": 10, "num_examples": 1000}
    return defaults | {option: value for option, value in asked.items() if value is not None}


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
        splits[split] = select_classes(source, classes, name=f"synthetic {split}") if classes else source
    return Splits(splits["train"], splits.get("validation"), splits["test"])
