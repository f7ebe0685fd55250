"""Opens one split of a data set with whole images, to evaluate on."""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from resnet_alexnet.data import readers
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.images.decode import MAX_PIXELS, check_max_pixels
from resnet_alexnet.data.images.geometry import whole_image
from resnet_alexnet.data.photos import PhotoSource, PhotoSubset
from resnet_alexnet.data.selection import (
    Images,
    NothingHeldOutError,
    check_fraction,
    report_lacking,
    select_classes,
)
from resnet_alexnet.data.sources import ProgressFn, Source, first_shape, no_progress, photo_channels
from resnet_alexnet.errors import InputError, check_name


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
    max_pixels: int = MAX_PIXELS,
    progress: ProgressFn = no_progress,
    report: Callable[[str], None] = print,
    **sizes: int | None,
) -> tuple[str, Source]:
    """Opens one split with its whole images, of any size: for `Source.example`, not for batches.

    Without a test or validation split, a part of the training split is held out, as for training, and is what is
    opened by default; a line says so. Of a set too small for that, the training split is all of it.

    Opening is immediate: no image is decoded, checked or measured in advance.

    Args:
        split: "train", "validation" or "test"; empty: "test" if there is one, else "validation".
        name: see `sources.create_splits`.
        data_dir: see `sources.create_splits`.
        train_split: see `sources.create_splits`.
        validation_split: see `sources.create_splits`.
        test_split: see `sources.create_splits`.
        validation_fraction: see `sources.create_splits`.
        max_pixels: see `sources.create_splits`.
        classes: see `sources.create_splits`. To select classes of a TFDS set, all its records are read.
        progress: shows the progress of reading them.
        report: called with each line about files that are left out and classes that the split lacks.
        sizes: image_size, channels, num_classes and num_examples of `sources.create_splits`.

    Returns:
        The split's name, and the split.

    Raises:
        InputError: there is no such split; or see `sources.create_splits`.
    """
    check_fraction(validation_fraction)
    check_max_pixels(max_pixels)
    splits = {"train_split": train_split, "validation_split": validation_split, "test_split": test_split}
    read = functools.partial(readers.read_images, name, data_dir, splits=splits, sizes=sizes)
    split, images, classes = _read(split, name, read, validation_fraction, classes, report)
    part, title = images[split], f"{name} {split}"
    report_lacking({split: part}, report)
    if isinstance(part, ArraySource):
        return split, part
    if classes:  # of a TFDS set, whose labels are in its records
        indices = np.arange(len(part))
        labels = [part.read(index)[1] for index in progress(range(len(part)), len(part), f"labels of {title}")]
        part = select_classes(PhotoSubset(part, indices, np.array(labels, np.int32), part.classes), classes, name=title)
        assert not isinstance(part, ArraySource)
    channels = photo_channels(part, sizes.get("channels"))
    shape = first_shape(part, title, channels, max_pixels)
    return split, PhotoSource(part, shape, whole_image, whole_image, max_pixels)


def _read(
    split: str,
    name: str,
    read: Callable[..., Mapping[str, Images]],
    fraction: float,
    classes: Sequence[str],
    report: Callable[[str], None],
) -> tuple[str, Mapping[str, Images], Sequence[str]]:
    """Returns the name of the split, the splits, and the classes that are still to be selected.

    Images are held out of the training split only if needed, and if it has enough.

    Raises:
        InputError: there is no such split.
    """
    needed = fraction if split in ("train", "validation") else 0.0  # a set too small for it can still be opened
    only = f"{name} has no test or validation split"
    is_chosen = False
    try:
        images = read(validation_fraction=needed, report=report)
        is_chosen = not split and not {"test", "validation"} & set(images)
        if is_chosen and not fraction:
            raise InputError(f"{only}, and dataset.validation_fraction=0 holds none out: --split=train takes all of it")
        if is_chosen:
            images, needed = read(validation_fraction=fraction, report=lambda line: None), fraction  # lines once only
        split = split or ("test" if "test" in images else "validation")
        if split != "validation":
            check_name(f"the split of {name}", split, dict.fromkeys([*images, *["validation"] * (fraction > 0)]))
        images, classes = readers.divide(images, needed, classes, name=name)
    except NothingHeldOutError as error:
        if is_chosen:
            raise InputError(
                f"{only}, and is too small to hold {fraction:.0%} of each class out: --split=train takes all of it"
            ) from error
        if split != "train":
            raise
        images = read(validation_fraction=0.0, report=lambda line: None)
        images, classes = readers.divide(images, 0.0, classes, name=name)
    if is_chosen:
        held, others = len(images["validation"]), len(images["train"])
        report(
            f"{only}: these are the {held:,} images held out for validation (dataset.validation_fraction={fraction:g});"
            f" --split=train takes the other {others:,}, or all {held + others:,} with "
            "--config.dataset.validation_fraction=0"
        )
    check_name(f"the split of {name}", split, images)
    return split, images, classes
