"""Sources: labeled images with random access by index, and the training, validation and test splits made of them."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Int, UInt8

from resnet_alexnet.data import readers
from resnet_alexnet.data.arrays import ArraySource, Draw
from resnet_alexnet.data.images.decode import UnreadableImageError, decode
from resnet_alexnet.data.images.geometry import whole_image
from resnet_alexnet.data.photos import Crop, Photos, PhotoSource, PhotoSubset, check_readable, load
from resnet_alexnet.data.readers import tfds
from resnet_alexnet.data.selection import Images, check_fraction, select_classes
from resnet_alexnet.data.statistics import Statistics, load_statistics
from resnet_alexnet.errors import InputError, check_name

STATISTICS_FILE, MANIFEST_FILE = "statistics.npz", "manifest.json"  # beside the files of a prepared set
IN_MEMORY = ("auto", "yes", "no")
MEMORY_BYTES = 2**31  # "auto" keeps sets of up to 2 GiB in memory

ProgressFn = Callable[
    [Iterable, int, str], Iterable
]  # (items, how many, description) -> the items, showing how far it is


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

        Args:
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

    Attributes:
        statistics: those of the whole training set, where they were stored with it.
    """

    train: Source
    validation: Source | None
    test: Source | None
    statistics: Statistics | None = None


@dataclasses.dataclass(frozen=True)
class Crops:
    """How photographs of any size are cropped to squares of `size` pixels; see data/geometry.py."""

    size: int
    train: Crop
    test: Crop


def no_progress(items: Iterable, length: int, description: str) -> Iterable:
    """A `ProgressFn` that shows nothing."""
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
    crops: Crops | None = None,
    in_memory: str = "auto",
    image_size: int | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
    num_examples: int | None = None,
    max_unreadable: int = 0,
    progress: ProgressFn = no_progress,
    report: Callable[[str], None] = print,
) -> Splits:
    """Reads or makes the data set `name` and splits it. Validation is never taken from the test set.

    Args:
        name: one of readers.OWN_NAMES, a TFDS image classification set, or a user's own, FILE.py:FUNCTION.
        data_dir: folder (for "npz", file) of the set; empty for what needs none.
        train_split: of a TFDS set, in its syntax, such as "train[:45000]"; empty: what is not held out.
        validation_split: likewise; empty: its own, or what is held out.
        test_split: likewise; empty: its own, if it has labels.
        validation_fraction: part of the training set held out, in [0, 1), where the set has no validation split.
        classes: names of the classes to keep, relabeled in this order; empty keeps all.
        crops: crops of photographs; None takes images as they are, which must then all have one size.
        in_memory: keep images that are taken as they are in memory: "yes", "no", "auto" (up to MEMORY_BYTES).
        image_size: height and width in pixels, of "synthetic" (default 32); for data that is read, None or what the data
            (or the views) have.
        channels: color channels, likewise (synthetic: 3).
        num_classes: of "synthetic" alone, before `classes` selects (10).
        num_examples: of "synthetic" alone, training examples before the split and the selection (1000).
        max_unreadable: training images that may be unreadable and replaced by the next, on the way into memory.
        progress: shows how far the decoding of a set that goes into memory, and the check of the others, are.
        report: called with a line for each image that could not be read and was replaced on the way into memory.

    Raises:
        InputError: unknown name; missing or damaged files; an option out of range or in conflict with the data.
    """
    check_fraction(validation_fraction)
    check_name("dataset.in_memory", in_memory, IN_MEMORY)
    splits = {"train_split": train_split, "validation_split": validation_split, "test_split": test_split}
    sizes = {"image_size": image_size, "channels": channels, "num_classes": num_classes, "num_examples": num_examples}
    images = readers.read_images(name, data_dir, validation_fraction=validation_fraction, splits=splits, sizes=sizes)
    if "train" not in images:
        raise InputError(f"{name} in {data_dir} has nothing to train on: it holds {', '.join(images)} alone")
    statistics = None if classes else _stored_statistics(images["train"])
    images, classes = readers.divide(images, validation_fraction, classes, name=name)
    opened = {
        split: _open(
            part,
            crops,
            in_memory,
            name=f"{name} {split}",
            max_unreadable=max_unreadable if split == "train" else None,
            progress=progress,
            report=report,
        )
        for split, part in images.items()
    }
    _check_sizes(name, opened, image_size=image_size, channels=channels)
    if classes:
        opened = {split: _select_loaded(source, classes, f"{name} {split}") for split, source in opened.items()}
    return Splits(opened["train"], opened.get("validation"), opened.get("test"), statistics)


def open_split(
    split: str,
    name: str,
    *,
    data_dir: str = "",
    train_split: str = "",
    validation_split: str = "",
    test_split: str = "",
    validation_fraction: float = 0.1,
    classes: Sequence[str] = (),
    progress: ProgressFn = no_progress,
    **sizes: int | None,
) -> tuple[str, Source]:
    """One split of the set `name` with its images whole, of any size: for `Source.example`, not for batches.

    Nothing else is decoded or checked, and nothing is measured, so it is open at once.

    Args:
        split: "train", "validation" or "test"; empty: "test" where there is one, else "validation".
        name: as of `create_splits`, and so are the others; `sizes` are image_size, channels, num_classes, num_examples.
        data_dir: see `create_splits`.
        train_split: see `create_splits`.
        validation_split: see `create_splits`.
        test_split: see `create_splits`.
        validation_fraction: see `create_splits`.
        classes: see `create_splits`; of a TFDS set all records are read to choose them.
        progress: shows how far that is.
        sizes: see `create_splits`.

    Returns:
        The split's name, and the split.

    Raises:
        InputError: there is no such split; or see `create_splits`.
    """
    check_fraction(validation_fraction)
    splits = {"train_split": train_split, "validation_split": validation_split, "test_split": test_split}

    def read(fraction: float) -> Mapping[str, Images]:
        return readers.read_images(name, data_dir, validation_fraction=fraction, splits=splits, sizes=sizes)

    images = read(validation_fraction if split in ("train", "validation") else 0.0)  # nothing is held out in vain
    if not split and not {"test", "validation"} & set(images):
        images = read(validation_fraction)
    split = split or ("test" if "test" in images else "validation")
    fraction = 0.0 if split == "test" and split in images else validation_fraction
    images, classes = readers.divide(images, fraction, classes, name=name)
    check_name(f"the split of {name}", split, images)
    part, title = images[split], f"{name} {split}"
    if isinstance(part, ArraySource):
        return split, part
    if classes:  # those of a TFDS set, whose labels stand in its records
        indices = np.arange(len(part))
        labels = [part.read(index)[1] for index in progress(range(len(part)), len(part), f"labels of {title}")]
        part = select_classes(PhotoSubset(part, indices, np.array(labels, np.int32), part.classes), classes, name=title)
        assert not isinstance(part, ArraySource)
    return split, PhotoSource(part, _first_shape(part, title), whole_image, whole_image)


def _open(
    images: Images,
    crops: Crops | None,
    in_memory: str,
    *,
    name: str,
    max_unreadable: int | None,
    progress: ProgressFn,
    report: Callable[[str], None],
) -> Source:
    """The source of these images: cropped photographs, or images as they are, and then in memory or not.

    Of a split for testing `max_unreadable` is None: all of it must be readable, which a prepared set is known to be.
    """
    if isinstance(images, ArraySource):
        return images
    if crops is not None and in_memory == "yes":
        raise InputError(
            "dataset.in_memory='yes' is for images that are taken as they are (augment.crop='none'); "
            "photographs are cropped as they are read"
        )
    if crops is not None:
        shape = (crops.size, crops.size, images.channels)
        source = PhotoSource(images, shape, crops.train, crops.test)
    else:
        source = PhotoSource(images, _first_shape(images, name), whole_image, whole_image)
        fits = len(source) * math.prod(source.image_shape) <= MEMORY_BYTES
        if in_memory == "yes" or (in_memory == "auto" and fits):
            return load(source, name=name, max_unreadable=max_unreadable, progress=progress, report=report)
    # Our own command has decoded all that it prepared.
    prepared = isinstance(images, tfds.TfdsPhotos) and (images.folder / MANIFEST_FILE).exists()
    if max_unreadable is None and not prepared:
        check_readable(source, name=name, progress=progress)
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
    """The statistics that lie beside the files of a prepared set, if `train` is what they are of: all of "train"."""
    if not isinstance(train, tfds.TfdsPhotos) or train.split != "train":
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


def name_images(split: str, names: Sequence[str]) -> tuple[str, ...]:
    """What the images of a split are called in files: a set that is moved is still the same set.

    Args:
        split: goes before the images' names.
        names: their paths, of which the folder that they share is left out; or their numbers.
    """
    folder = os.path.commonpath([os.path.dirname(name) for name in names])
    return tuple(f"{split}/{name[len(folder) :].lstrip(os.sep)}" for name in names)
