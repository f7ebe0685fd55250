"""Reads Fashion-MNIST: the embedded sample, or the full set from its IDX files.

This command recreates the sample, with identical arrays:

    python -c "from resnet_alexnet.data.readers.fashion_mnist import make_sample; make_sample('DIR', 'FILE.npz')"

DIR holds the four IDX files (on Debian: /usr/share/datasets/fashion-mnist of the package dataset-fashion-mnist).

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST", arXiv 1708.07747; github.com/zalandoresearch/fashion-mnist (MIT).
"""

import os
from importlib import resources
from pathlib import Path

import numpy as np

from resnet_alexnet.data.readers.mnist import Arrays, read_split

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SAMPLE_TRAIN_PER_CLASS = 500
SAMPLE_TEST_PER_CLASS = 100


def read_sample() -> tuple[Arrays, Arrays]:
    """Reads (images, labels) of the embedded sample: 5,000 training and 1,000 test images, balanced over classes."""
    with (
        resources.files("resnet_alexnet.data.readers").joinpath("fashion_mnist_sample.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        train, test = (
            (arrays[f"{split}_images"][..., np.newaxis], arrays[f"{split}_labels"].astype(np.int32))
            for split in ("train", "test")
        )
    return train, test


def read_fashion_mnist(data_dir: str | os.PathLike[str]) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Reads (images, labels) of the training and test set, and the class names.

    Args:
        data_dir: folder of the four IDX files of the full set, plain or gzipped; empty for the embedded sample.

    Raises:
        InputError: a file is missing, damaged or of another size than Fashion-MNIST. The message names the file.
    """
    train, test = (_read_split(Path(data_dir), split) for split in ("train", "test")) if data_dir else read_sample()
    return train, test, CLASSES


def make_sample(data_dir: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Writes the embedded sample: the first 500 training and 100 test images of each class, in file order.

    Args:
        data_dir: folder of the four IDX files of the full set.
        output: the `.npz` file to write.
    """
    arrays = {}
    per_class = {"train": SAMPLE_TRAIN_PER_CLASS, "test": SAMPLE_TEST_PER_CLASS}
    for split, count in per_class.items():
        images, labels = _read_split(Path(data_dir), split)
        first = [np.flatnonzero(labels == label)[:count] for label in range(len(CLASSES))]
        chosen = np.sort(np.concatenate(first))
        arrays[f"{split}_images"] = images[chosen, ..., 0]
        arrays[f"{split}_labels"] = labels[chosen].astype(np.uint8)
    np.savez_compressed(output, **arrays)


def _read_split(folder: Path, split: str) -> Arrays:
    """Reads (images, labels) of one split of the full set."""
    return read_split(folder, split, title="Fashion-MNIST", otherwise="; leave data_dir empty for the embedded sample")
