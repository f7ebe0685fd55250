"""A user's own data set, "path/to/file.py:FUNCTION": a function from data_dir to the splits by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_alexnet.data.arrays import ArraySource, check_distinct
from resnet_alexnet.data.selection import Images
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import absolute_guest, error_line, load_guest

SPLITS = ("train", "validation", "test")
_PHOTOS = ("classes", "labels", "channels", "__len__", "read", "where")  # what `photos.Photos` has


def read_guest(name: str, data_dir: str) -> Mapping[str, Images]:
    """The splits that a user's function returns: {"train": ..., "validation": ..., "test": ...}, the last two optional.

    Each is an `ArraySource`, or photographs as `photos.Photos` describes them, whose labels are known.

    Raises:
        InputError: the function cannot be had, fails, or returns something else.
    """
    read = load_guest(name, field="dataset.name")
    if not callable(read):
        raise InputError(f"dataset.name={name} is {type(read).__name__} (needed: a function of data_dir)")
    try:
        splits = read(data_dir)
    except InputError:
        raise
    except Exception as error:
        file = Path(absolute_guest(name).rpartition(":")[0])
        raise InputError(f"dataset.name={name}, data_dir={data_dir!r}: {error_line(error, file)}") from error
    if not isinstance(splits, Mapping) or "train" not in splits or not set(splits) <= set(SPLITS):
        returned = list(splits) if isinstance(splits, Mapping) else type(splits).__name__
        raise InputError(f"{name} returns {returned} (needed: a dict with 'train', and 'validation' and 'test' if any)")
    for split, images in splits.items():
        _check(f"{name}: {split}", images)
        if tuple(images.classes) != tuple(splits["train"].classes):
            raise InputError(f"{name}: {split} has other classes than train (needed: the same in the same order)")
    return splits


def _check(where: str, images: Any) -> None:
    """Raises InputError unless a split is a kind of images that can be read."""
    if isinstance(images, ArraySource):
        return
    lacking = [attribute for attribute in _PHOTOS if not hasattr(images, attribute)]
    if lacking:
        raise InputError(
            f"{where} is {type(images).__name__} without {', '.join(lacking)} (needed: data.arrays.ArraySource, or "
            "what data.photos.Photos describes)"
        )
    check_distinct(where, images.classes)
    labels = images.labels
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int32 or labels.shape != (len(images),):
        raise InputError(f"{where}.labels must be an int32 array of {len(images)} numbers, one for each photograph")
    if not len(labels) or labels.min() < 0 or labels.max() >= len(images.classes):
        raise InputError(f"{where}.labels must be indices into the {len(images.classes)} classes, one at least")
