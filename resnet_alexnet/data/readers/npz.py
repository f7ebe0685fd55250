"""Reads a data set from one `.npz` file of arrays. Pickled objects are never loaded."""

import contextlib
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.selection import MOST_CLASSES
from resnet_alexnet.errors import InputError

# Names of (images, labels) of each split. The second pair is what Keras uses.
_NAMES = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "validation": (("validation_images", "validation_labels"), ("x_val", "y_val")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}
_CLASSES = "classes"

_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError)


def read_npz(path: str | os.PathLike[str]) -> dict[str, ArraySource]:
    """Reads the splits in the file: "train" and, if present, "validation" and "test".

    The arrays are `train_images`, uint8 (num_examples, height, width[, channels]); `train_labels`, integers
    (num_examples[, 1]); the same for validation and test; and `classes`, the class names as strings. Without `classes`
    the names are "0", "1", ... up to the highest training label. Keras's names `x_train`, `y_train`, ... also work.

    Raises:
        InputError: the path is empty; the file is missing or damaged; an array is missing, pickled, or of the wrong
            type or shape; a label is not an index into the classes. The message names file and array.
    """
    if not path:
        raise InputError("npz needs data_dir: the .npz file")
    path = Path(path)
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"data_dir {path} {state}: for npz it must be the .npz file")
    arrays = _load(path)
    splits = {}
    for split, pairs in _NAMES.items():
        found = [pair for pair in pairs if set(pair) & arrays.keys()]
        if found or split == "train":
            images, labels = (found or pairs)[0]
            splits[split] = _images(path, arrays, images), _labels(path, arrays, labels)
    if _CLASSES in arrays:
        classes = _class_names(path, arrays[_CLASSES])
    else:
        classes = tuple(str(label) for label in range(1 + splits["train"][1].max(initial=0)))
    return {
        split: ArraySource(images, labels, classes, name=f"{path} {split}")
        for split, (images, labels) in splits.items()
    }


def _load(path: Path) -> dict[str, np.ndarray]:
    """Loads the arrays with a known name. Other names get an empty array, so that messages can list them."""
    wanted = {_CLASSES, *(name for pairs in _NAMES.values() for pair in pairs for name in pair)}
    arrays = {}
    with contextlib.ExitStack() as stack:
        try:
            # Opened here, because numpy does not close a damaged file.
            file = np.load(stack.enter_context(path.open("rb")), allow_pickle=False)
        except _DAMAGE as error:
            raise InputError(f"{path} is not an .npz file, or damaged ({error}): save or download it again") from error
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise InputError(f"{path} has one array without a name: save all arrays with numpy.savez")
        for name in file.files:
            try:
                arrays[name] = file[name] if name in wanted else np.empty(0)
            except _DAMAGE as error:
                pickled = "allow_pickle" in str(error)
                reason = "it has Python objects, which are never loaded" if pickled else f"damaged: {error}"
                raise InputError(f"{path}: array {name} cannot be read ({reason}); save it again") from error
    return arrays


def _get(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise InputError(
            f"{path} has no array {name} (it has {', '.join(arrays) or 'none'}): it needs train_images, train_labels "
            "and, for other splits, validation_images, validation_labels, test_images, test_labels"
        )
    return arrays[name]


def _images(
    path: Path, arrays: dict[str, np.ndarray], name: str
) -> UInt8[np.ndarray, "num_examples height width channels"]:
    """Returns the images, with a channel axis."""
    images = _get(path, arrays, name)
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(
            f"{path}: array {name} is {images.dtype} of shape {images.shape}; it must be uint8 (num_examples, height, "
            "width) or (num_examples, height, width, channels)"
        )
    return images[..., np.newaxis] if images.ndim == 3 else images


def _labels(path: Path, arrays: dict[str, np.ndarray], name: str) -> Int32[np.ndarray, "num_examples"]:
    """Returns the labels, without a second axis of length one."""
    labels = _get(path, arrays, name)
    if not np.issubdtype(labels.dtype, np.integer) or not labels.ndim or labels.shape[1:] not in ((), (1,)):
        raise InputError(
            f"{path}: array {name} is {labels.dtype} of shape {labels.shape}; it must be integers of shape "
            "(num_examples,) or (num_examples, 1)"
        )
    labels = labels.reshape(-1)
    highest = np.iinfo(labels.dtype).max
    # The highest number of a type without a sign is -1, "no label", unless the classes below it occur too.
    is_class = np.issubdtype(labels.dtype, np.signedinteger) or (labels == highest - 1).any()
    bad = np.flatnonzero((labels < 0) | (labels >= MOST_CLASSES) | ((labels == highest) & (not is_class)))
    if len(bad):
        raise InputError(
            f"{path}: array {name}: label {bad[0]} is {labels[bad[0]]} (allowed: class numbers from 0 to "
            f"{MOST_CLASSES - 1}; {highest} in {labels.dtype} is no label)"
        )
    return labels.astype(np.int32)


def _class_names(path: Path, names: np.ndarray) -> tuple[str, ...]:
    """Returns the class names, after checking them."""
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) < len(names):
        raise InputError(
            f"{path}: array {_CLASSES} is {names.dtype} of shape {names.shape}; it must be strings of shape "
            "(num_classes,), without duplicates"
        )
    return tuple(names.tolist())
