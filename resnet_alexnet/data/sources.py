"""Sources: labelled images with random access by index, and the training, validation and test splits made of them."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int, UInt8

from resnet_alexnet.data import cifar, fashion_mnist, image_folder, mnist, npz, synthetic, tfds
from resnet_alexnet.data.arrays import ArraySource, Draw
from resnet_alexnet.data.decode import UnreadableImageError, decode
from resnet_alexnet.data.geometry import whole_view
from resnet_alexnet.data.photos import Photos, PhotoSource, View, check_readable, load
from resnet_alexnet.data.selection import Images, check_fraction, hold_out, select_classes
from resnet_alexnet.data.statistics import Statistics, load_statistics
from resnet_alexnet.errors import InputError, check_name, nearest

# Sets with a reader of their own for the files as they are published; any other name is looked up in TFDS's folders.
PUBLISHED = ("cifar10", "cifar100", "fashion_mnist", "mnist")
OWN_NAMES = (*PUBLISHED, "image_folder", "npz", "synthetic")
STATISTICS_FILE, MANIFEST_FILE = "statistics.npz", "manifest.json"  # beside the files of a prepared set
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

    def example(self, index: int) -> tuple[UInt8[np.ndarray, "height width channels"], int]:
        """The whole image at `index`, as decoded, and its label."""
        ...

    def where(self, index: int) -> str:
        """What to call the image at `index`, such as its path."""
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
    max_unreadable: int = 0,
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
      max_unreadable: training images that may be unreadable and replaced by the next, on the way into memory.
      track: shows how far the decoding of a set that goes into memory, and the check of the others, are.
      report: called with a line for each image that could not be read and was replaced on the way into memory.

    Raises:
      InputError: unknown name; missing or damaged files; an option out of range or in conflict with the data.
    """
    check_fraction(validation_fraction)
    check_name("dataset.in_memory", in_memory, IN_MEMORY)
    asked = {"image_size": image_size, "channels": channels, "num_classes": num_classes, "num_examples": num_examples}
    chosen = {"train_split": train_split, "validation_split": validation_split, "test_split": test_split}
    if name == "synthetic":
        images = _make(data_dir, validation_fraction, asked)
    else:
        images = _read(name, data_dir, validation_fraction=validation_fraction, splits=chosen)
    statistics = _stored_statistics(images["train"])
    images, classes = _divide(images, validation_fraction, classes, name=name)
    opened = {
        split: _open(
            part,
            views,
            in_memory,
            name=f"{name} {split}",
            max_unreadable=max_unreadable if split == "train" else None,
            track=track,
            report=report,
        )
        for split, part in images.items()
    }
    _check_sizes(name, opened, image_size=image_size, channels=channels)
    if classes:
        opened = {split: _select_loaded(source, classes, f"{name} {split}") for split, source in opened.items()}
    return Splits(opened["train"], opened.get("validation"), opened.get("test"), statistics)


def _make(data_dir: str, validation_fraction: float, asked: Mapping[str, int | None]) -> dict[str, ArraySource]:
    """The splits of synthetic data, of the sizes asked for."""
    if data_dir:
        raise InputError(f"data_dir={data_dir!r}: synthetic data is made, not read; leave data_dir empty")
    sizes = {option: value for option, value in asked.items() if value is not None}
    return synthetic.make_sources(validation_fraction=validation_fraction, **sizes)


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
    images: Images,
    views: Views | None,
    in_memory: str,
    *,
    name: str,
    max_unreadable: int | None,
    track: Track,
    report: Callable[[str], None],
) -> Source:
    """The source of these images: cropped photographs, or images as they are, and then in memory or not.

    Of a split for testing `max_unreadable` is None: all of it must be readable, which a prepared set is known to be.
    """
    if isinstance(images, ArraySource):
        return images
    if views is not None and in_memory == "yes":
        raise InputError(
            "dataset.in_memory='yes' is for images that are taken as they are (augment.geometry='none'); "
            "photographs are cropped as they are read"
        )
    if views is not None:
        shape = (views.size, views.size, images.channels)
        source = PhotoSource(images, shape, views.train, views.test)
    else:
        source = PhotoSource(images, _first_shape(images, name), whole_view, whole_view)
        fits = len(source) * math.prod(source.image_shape) <= MEMORY_BYTES
        if in_memory == "yes" or (in_memory == "auto" and fits):
            return load(source, name=name, max_unreadable=max_unreadable, track=track, report=report)
    # Our own command has decoded all that it prepared.
    prepared = isinstance(images, tfds.TfdsPhotos) and (images.folder / MANIFEST_FILE).exists()
    if max_unreadable is None and not prepared:
        check_readable(source, name=name, track=track)
    return source


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


def _check_sizes(name: str, sources: Mapping[str, Source], *, image_size: int | None, channels: int | None) -> None:
    """Raises InputError where splits differ in their images' size, or the user asks for another than they have."""
    height, width, own_channels = sources["train"].image_shape
    for split, source in sources.items():
        if source.image_shape != (height, width, own_channels):
            raise InputError(
                f"{name}: {split} images are {source.image_shape}, training images {sources['train'].image_shape} "
                "(height, width, channels); all must be of one size"
            )
    for option, value, own in (("image_size", image_size, height), ("channels", channels, own_channels)):
        if value not in (None, own):
            raise InputError(f"{option}={value}: {name} has {own}, and it cannot be changed; leave it unset")
