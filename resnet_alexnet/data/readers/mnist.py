"""Reads MNIST and sets in the same format: gray 28x28 images and their labels in four IDX files."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from resnet_alexnet.data.readers.idx import read_idx
from resnet_alexnet.errors import InputError

CLASSES = tuple("0123456789")
IMAGE_SIZE = 28  # pixels

_FILE_PREFIXES = {"train": "train", "test": "t10k"}

Arrays = tuple[UInt8[np.ndarray, "num_examples height width 1"], Int32[np.ndarray, "num_examples"]]


def read_mnist(data_dir: str | os.PathLike[str]) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Reads (images, labels) of the training and test set from the IDX files in `data_dir`, and the class names.

    Raises:
        InputError: data_dir is empty, or a file is missing, damaged or of another size than MNIST.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
    """
    if not data_dir:
        raise InputError(f"mnist needs data_dir: {_layout('MNIST')}")
    train, test = (read_split(Path(data_dir), split, title="MNIST") for split in ("train", "test"))
    return train, test, CLASSES


def read_split(folder: Path, split: str, *, title: str, otherwise: str = "") -> Arrays:
    """Reads (images, labels) of one split from its two IDX files, plain or gzipped.

    Args:
        folder: folder of the files.
        split: "train" or "test".
        title: name of the set in messages.
        otherwise: further advice if a file is missing, starting with "; ".

    Raises:
        InputError: a file is missing, damaged or not of 28x28 images. The message names the file.
    """
    images_path, labels_path = (
        _find(folder, f"{_FILE_PREFIXES[split]}-{part}-ubyte", remedy=_layout(title) + otherwise)
        for part in ("images-idx3", "labels-idx1")
    )
    images, labels = read_idx(images_path, ndim=3), read_idx(labels_path, ndim=1)
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise InputError(
            f"{images_path} has images of {images.shape[1]}x{images.shape[2]} pixels, but {title} has "
            f"{IMAGE_SIZE}x{IMAGE_SIZE}: put the published file there"
        )
    if len(images) != len(labels):
        raise InputError(
            f"{images_path} has {len(images):,} images, but {labels_path} has {len(labels):,} labels: "
            "put two files of the same release there"
        )
    return images[..., np.newaxis], labels.astype(np.int32)


def _find(folder: Path, name: str, *, remedy: str) -> Path:
    """Finds IDX file `name` in `folder`, also with the suffix `.gz`, or with `.idx` for `-idx` as some tools write."""
    for other in (name, name.replace("-idx", ".idx")):
        for path in (folder / other, folder / f"{other}.gz"):
            if path.is_file():
                return path
    raise InputError(f"{folder / name}[.gz] is missing: {remedy}")


def _layout(title: str) -> str:
    return (
        f"data_dir must be the folder of {title}'s four IDX files "
        "({train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz])"
    )
