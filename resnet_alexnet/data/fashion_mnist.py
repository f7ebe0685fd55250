"""Fashion-MNIST: the embedded sample, the full set from its IDX files, and the tool that made the sample from them.

The sample is made again, to the same arrays, by

    python -c "from resnet_alexnet.data.fashion_mnist import make_sample; make_sample('DIR', 'FILE.npz')"

where DIR holds the four IDX files (on Debian: /usr/share/datasets/fashion-mnist of the package dataset-fashion-mnist).

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST", arXiv 1708.07747; github.com/zalandoresearch/fashion-mnist (MIT).
"""

import os
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from resnet_alexnet.data.idx import read_idx
from resnet_alexnet.errors import InputError

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
IMAGE_SIZE = 28  # pixels
SAMPLE_TRAIN_PER_CLASS = 500
SAMPLE_TEST_PER_CLASS = 100

_FILE_PREFIXES = {"train": "train", "test": "t10k"}

Arrays = tuple[UInt8[np.ndarray, "num_examples height width 1"], Int32[np.ndarray, "num_examples"]]


def read_sample() -> tuple[Arrays, Arrays]:
    """Reads the embedded sample: (images, labels) of 5,000 training and 1,000 test images, balanced over classes."""
    with (
        resources.files("resnet_alexnet.data").joinpath("fashion_mnist_sample.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        train, test = (
            (arrays[f"{split}_images"][..., np.newaxis], arrays[f"{split}_labels"].astype(np.int32))
            for split in ("train", "test")
        )
    return train, test


def read_full(data_dir: str | os.PathLike[str]) -> tuple[Arrays, Arrays]:
    """Reads (images, labels) of the full training and test sets from the four IDX files in `data_dir`, gz or plain.

    Raises:
      InputError: a file is missing, damaged or not Fashion-MNIST's size; the message says what belongs there.
    """
    return _read_split(Path(data_dir), "train"), _read_split(Path(data_dir), "test")


def make_sample(data_dir: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Writes the embedded sample's `.npz`: the first 500 training and 100 test images of each class, in file order.

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
    """(images, labels) of one split of the full set."""
    images_path = _find(folder, f"{_FILE_PREFIXES[split]}-images-idx3-ubyte")
    labels_path = _find(folder, f"{_FILE_PREFIXES[split]}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, ndim=3), read_idx(labels_path, ndim=1)
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise InputError(
            f"{images_path} holds images of {images.shape[1]}x{images.shape[2]} pixels; "
            f"Fashion-MNIST's are {IMAGE_SIZE}x{IMAGE_SIZE}: put its own file there"
        )
    if len(images) != len(labels):
        raise InputError(
            f"{images_path} holds {len(images):,} images but {labels_path} {len(labels):,} labels; "
            "put two files of the same release there"
        )
    return images[..., np.newaxis], labels.astype(np.int32)


def _find(folder: Path, name: str) -> Path:
    """The path of IDX file `name` in `folder`, plain or with `.gz`."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(
        f"{folder / name}[.gz] is missing: data_dir must be the folder of Fashion-MNIST's four IDX files "
        "({train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]); leave data_dir empty for the embedded sample"
    )
