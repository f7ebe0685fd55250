"""Reads MNIST, and sets that are published like it: gray 28x28 images and their labels in four IDX files."""

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
    """Reads (images, labels) of the training and test images from the four IDX files in `data_dir`, and the classes.

    Raises:
        InputError: data_dir is empty, or a file is missing, damaged or not MNIST's size.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
    """
    if not data_dir:
        raise InputError(f"mnist needs data_dir: {_layout('MNIST')}")
    train, test = (read_split(Path(data_dir), split, title="MNIST") for split in ("train", "test"))
    return train, test, CLASSES


def read_split(folder: Path, split: str, *, title: str, otherwise: str = "") -> Arrays:
    """Reads (images, labels) of one split from its two IDX files, gz or plain.

    Args:
        folder: where the files are.
        split: "train" or "test".
        title: what the set is called in an error.
        otherwise: what else a user can do when a file is missing, beginning with "; ".

    Raises:
        InputError: a file is missing, damaged or not of 28x28 images; the message says what belongs there.
    """
    images_path, labels_path = (
        _find(folder, f"{_FILE_PREFIXES[split]}-{part}-ubyte", remedy=_layout(title) + otherwise)
        for part in ("images-idx3", "labels-idx1")
    )
    images, labels = read_idx(images_path, ndim=3), read_idx(labels_path, ndim=1)
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise InputError(
            f"{images_path} holds images of {images.shape[1]}x{images.shape[2]} pixels; "
            f"{title}'s are {IMAGE_SIZE}x{IMAGE_SIZE}: put its own file there"
        )
    if len(images) != len(labels):
        raise InputError(
            f"{images_path} holds {len(images):,} images but {labels_path} {len(labels):,} labels; "
            "put two files of the same release there"
        )
    return images[..., np.newaxis], labels.astype(np.int32)


def _find(folder: Path, name: str, *, remedy: str) -> Path:
    """The path of IDX file `name` in `folder`: plain or with `.gz`, and with `.idx` too, as some unpackers write it."""
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
