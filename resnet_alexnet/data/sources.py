"""Opens data sets as sources: labeled images with random access, in training, validation and test splits."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Int, Int32, UInt8

from resnet_alexnet.data import readers
from resnet_alexnet.data.arrays import ArraySource, Draw
from resnet_alexnet.data.images.decode import MAX_PIXELS, UnreadableImageError, check_max_pixels, decode
from resnet_alexnet.data.images.geometry import whole_image
from resnet_alexnet.data.photos import Crop, Photos, PhotoSource, PhotoSubset, check_readable, load
from resnet_alexnet.data.readers import tfds
from resnet_alexnet.data.selection import Images, check_fraction, report_lacking, select_classes
from resnet_alexnet.data.statistics import Statistics, load_statistics
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.files import read_json

STATISTICS_FILE, MANIFEST_FILE = "statistics.npz", "manifest.json"  # in the folder of a prepared set
IN_MEMORY = ("auto", "yes", "no")
RAW_SIDE = 256  # pixels: shorter side of the photographs of a prepared set that are not compressed
MEMORY_BYTES = 2**31  # "auto" keeps sets of up to 2 GiB in memory

# (items, number of items, description) -> the same items; shows the progress while they are consumed.
ProgressFn = Callable[[Iterable, int, str], Iterable]


class Source(Protocol):
    """The interface of a data set to the loader. Any implementation, in memory or on disk, can be trained on."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        ...

    @property
    def labels(self) -> Int32[np.ndarray, "num_examples"] | None:
        """All labels, or None if they are only known by reading the images; see `selection.count_classes`."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image, in pixels."""
        ...

    def __len__(self) -> int: ...

    def gather(self, indices: Int[np.ndarray, "batch"], draw: Draw | None = None) -> dict[str, np.ndarray]:
        """Returns the examples at `indices`: `image` UInt8 (batch, height, width, channels), `label` Int32 (batch,).

        With a draw, (seed, epoch), these are training crops, random by draw and index. Without, they are test crops.
        """
        ...

    def example(self, index: int) -> tuple[UInt8[np.ndarray, "height width channels"], int]:
        """Returns the whole decoded image at `index`, and its label."""
        ...

    def where(self, index: int) -> str:
        """Returns the name of the image at `index` in messages, such as its path."""
        ...


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of one data set.

    Attributes:
        train: the training split.
        validation: the validation split, or None.
        test: the test split, or None.
        statistics: statistics of the whole training set if they are stored with it, else None.
    """

    train: Source
    validation: Source | None
    test: Source | None
    statistics: Statistics | None = None


@dataclasses.dataclass(frozen=True)
class Crops:
    """How photographs of any size are cropped to squares of `size` pixels; see data/images/geometry.py."""

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
    max_pixels: int = MAX_PIXELS,
    test: bool = True,
    progress: ProgressFn = no_progress,
    report: Callable[[str], None] = print,
) -> Splits:
    """Opens the data set `name` and its splits. The validation split is never taken from the test set.

    Args:
        name: one of readers.OWN_NAMES, a TFDS image classification set, or a user's own reader, FILE.py:FUNCTION.
        data_dir: folder of the set (for "npz" its file); empty if the set needs none.
        train_split: training split of a TFDS set, such as "train[:45000]"; empty: "train" without the images held out.
        validation_split: validation split of a TFDS set; empty: "validation", or the images held out.
        test_split: test split of a TFDS set; empty: "test" if it has labels.
        validation_fraction: fraction of the training set to hold out, in [0, 1), if the set has no validation split.
        classes: names of the classes to keep, relabeled in this order; empty keeps all.
        crops: crops of photographs; None: no cropping, all images must have one size.
        in_memory: keep images that are not cropped in memory: "yes", "no", or "auto" (up to MEMORY_BYTES).
        image_size: height and width of "synthetic" images, in pixels (default 32). For other sets: None, or the size
            that the images or crops have.
        channels: 3, or 1 for gray photographs; any of "synthetic" images (default 3). For arrays: None, or their own.
        num_classes: classes of "synthetic" before `classes` selects some (default 10).
        num_examples: training images of "synthetic" before holding out and selecting classes (default 1000).
        max_pixels: photographs with more pixels are unreadable.
        max_unreadable: unreadable training images to replace at most while a set is loaded into memory.
        test: whether to open the test split; see `readers.read_images`.
        progress: shows the progress of loading a set into memory, or of checking one that is not.
        report: called with each line about images that are left out or replaced, and classes that a split lacks.

    Raises:
        InputError: the name is unknown; files are missing or damaged; an option is wrong, or conflicts with the data.
    """
    check_fraction(validation_fraction)
    check_max_pixels(max_pixels)
    check_name("dataset.in_memory", in_memory, IN_MEMORY)
    splits = {"train_split": train_split, "validation_split": validation_split, "test_split": test_split}
    sizes = {"image_size": image_size, "channels": channels, "num_classes": num_classes, "num_examples": num_examples}
    images = readers.read_images(
        name, data_dir, validation_fraction=validation_fraction, splits=splits, sizes=sizes, test=test, report=report
    )
    if "train" not in images:
        raise InputError(f"{name} in {data_dir} has no training split: it has only {', '.join(images)}")
    statistics = None if classes else _stored_statistics(images["train"])
    images, classes = readers.divide(images, validation_fraction, classes, name=name)
    report_lacking({} if name == "synthetic" else images, report)  # made-up images are as many as asked for
    open_part = functools.partial(_open, crops=crops, in_memory=in_memory, channels=channels, max_pixels=max_pixels)
    open_part = functools.partial(open_part, progress=progress, report=report)
    opened = {
        split: open_part(part, name=f"{name} {split}", max_unreadable=max_unreadable if split == "train" else None)
        for split, part in images.items()
    }
    _check_sizes(name, opened, image_size=image_size, channels=channels)
    if classes:
        opened = {split: _select_loaded(source, classes, f"{name} {split}") for split, source in opened.items()}
    return Splits(opened["train"], opened.get("validation"), opened.get("test"), statistics)


def photo_channels(photos: Photos, channels: int | None) -> int:
    """Returns the color channels to decode photographs to: those of the set, or other ones.

    Raises:
        InputError: images cannot be decoded to this number of channels.
    """
    if channels not in (None, 1, 3):
        raise InputError(f"dataset.channels={channels} (allowed for photographs: 3, or 1 for gray)")
    return channels or photos.channels


def _open(
    images: Images,
    *,
    crops: Crops | None,
    in_memory: str,
    channels: int | None,
    name: str,
    max_unreadable: int | None,
    max_pixels: int,
    progress: ProgressFn,
    report: Callable[[str], None],
) -> Source:
    """Opens images as a source: cropped photographs, or uncropped images, in memory or not.

    `max_unreadable` is None for validation and test splits: every image must be readable. They are checked here,
    except in a set that data.prepare made, which has checked them.
    """
    if isinstance(images, ArraySource):
        return images
    if crops is not None and in_memory == "yes":
        raise InputError(
            "dataset.in_memory='yes' needs augment.crop='none': images that are cropped are read from disk; set one of "
            "the two"
        )
    channels = photo_channels(images, channels)
    if crops is not None:
        shape = (crops.size, crops.size, channels)
        source = PhotoSource(images, shape, crops.train, crops.test, max_pixels)
    else:
        source = PhotoSource(
            images, first_shape(images, name, channels, max_pixels), whole_image, whole_image, max_pixels
        )
        fits = len(source) * math.prod(source.image_shape) <= MEMORY_BYTES
        if in_memory == "yes" or (in_memory == "auto" and fits):
            return load(source, name=name, max_unreadable=max_unreadable, progress=progress, report=report)
    # data.prepare has decoded every image of a set it made.
    prepared = isinstance(images, tfds.TfdsPhotos) and (images.folder / MANIFEST_FILE).exists()
    if max_unreadable is None and not prepared:
        check_readable(source, name=name, progress=progress)
    return source


def first_shape(photos: Photos, name: str, channels: int, max_pixels: int) -> tuple[int, int, int]:
    """Returns the shape of the first readable image, decoded to this number of channels."""
    for index in range(len(photos)):
        with contextlib.suppress(UnreadableImageError):
            return decode(photos.read(index)[0], channels=channels, max_pixels=max_pixels).shape
    raise InputError(f"{name}: none of the {len(photos)} images can be read")


def _select_loaded(source: Source, classes: Sequence[str], name: str) -> ArraySource:
    """Selects classes of a set whose labels are only known once its images are in memory."""
    if not isinstance(source, ArraySource):
        raise InputError(
            f"{name}: classes cannot be selected in a streamed TFDS set, because its labels are in its records; "
            "use an image folder, or a set that fits into memory"
        )
    selected = select_classes(source, classes, name=name)
    assert isinstance(selected, ArraySource)
    return selected


def _stored_statistics(train: Images) -> Statistics | None:
    """Returns the statistics stored with a prepared set if `train` is its whole "train" split, which they describe."""
    if not isinstance(train, tfds.TfdsPhotos) or train.split != "train":
        return None
    path = train.folder / STATISTICS_FILE
    statistics = load_statistics(path) if path.exists() else None
    return statistics if statistics is not None and statistics.count == len(train) else None


def draw_images(source: Source, count: int, *, seed: int) -> Source:
    """A copy of the source with `count` of its images, drawn without replacement, in their order; all if it has fewer.

    Args:
        source: in memory, or photographs.
        count: images to draw.
        seed: of the draw.
    """
    if count >= len(source):
        return source
    chosen = np.sort(np.random.default_rng(seed).permutation(len(source))[:count])
    if isinstance(source, ArraySource):
        return dataclasses.replace(source, images=source.images[chosen], labels=source.labels[chosen])
    assert isinstance(source, PhotoSource)
    photos, labels = source.photos, source.labels
    if labels is None:  # of a TFDS set, whose labels are in its records
        labels = {int(index): photos.read(int(index))[1] for index in chosen}
    drawn = np.array([labels[index] for index in chosen], np.int32)
    return dataclasses.replace(source, photos=PhotoSubset(photos, chosen, drawn, source.classes))


def prepared_side(source: Source) -> int | None:
    """The shorter side in pixels to which data.prepare has reduced photographs; None if it has not."""
    photos = source.photos if isinstance(source, PhotoSource) else None
    if not isinstance(photos, tfds.TfdsPhotos) or not (photos.folder / MANIFEST_FILE).exists():
        return None
    settings = read_json(photos.folder / MANIFEST_FILE).get("settings", {})
    return RAW_SIDE if settings.get("encoding") == "raw" else settings.get("resize") or None


def _check_sizes(name: str, sources: Mapping[str, Source], *, image_size: int | None, channels: int | None) -> None:
    """Raises InputError if splits differ in image size, or if the options ask for another size than they have."""
    height, width, own_channels = sources["train"].image_shape
    for split, source in sources.items():
        if source.image_shape != (height, width, own_channels):
            raise InputError(
                f"{name}: {split} images are {source.image_shape}, training images {sources['train'].image_shape} "
                "(height, width, channels); all must have the same size"
            )
    for option, value, own in (("image_size", image_size, height), ("channels", channels, own_channels)):
        if value not in (None, own):
            why = "only photographs change it, by augment.crop" if option == "image_size" else "which cannot be changed"
            raise InputError(f"{option}={value}: {name} has {own}, {why}; unset it, or set {own}")
