"""Reads CIFAR-10 from its published binary archive."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from resnet_alexnet.errors import InputError

IMAGE_SIZE = 32  # pixels
CHANNELS = 3
NUM_CLASSES = 10
RECORDS_PER_FILE = 10_000
RECORD_BYTES = 1 + CHANNELS * IMAGE_SIZE * IMAGE_SIZE  # a label, then the red, green and blue planes
FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)

Arrays = tuple[UInt8[np.ndarray, "num_examples 32 32 3"], Int32[np.ndarray, "num_examples"]]


def read_cifar10(data_dir: str | os.PathLike[str]) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Reads (images, labels) of the 50,000 training and 10,000 test images, and the class names.

    Args:
      data_dir: the extracted folder `cifar-10-batches-bin`, or the folder that holds it.

    Raises:
      InputError: data_dir is empty, or a file is missing, of the wrong size or damaged.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; the archive's binary version.
    """
    if not data_dir:
        raise InputError(
            f"cifar10 needs data_dir: extract cifar-10-binary.tar.gz and set data_dir to its folder {FOLDER}"
        )
    folder = Path(data_dir)
    if (folder / FOLDER).is_dir():
        folder /= FOLDER
    names = _read_bytes(folder / "batches.meta.txt").decode("utf-8", errors="replace").split()
    if len(names) != NUM_CLASSES:
        raise InputError(
            f"{folder / 'batches.meta.txt'} names {len(names)} classes, not {NUM_CLASSES}; extract the archive again"
        )
    return _read_files(folder, TRAIN_FILES), _read_files(folder, TEST_FILES), tuple(names)


def _read_files(folder: Path, names: tuple[str, ...]) -> Arrays:
    """(images, labels) of the records in these files, one after the other."""
    records = np.concatenate([_read_records(folder / name) for name in names])
    planes = records[:, 1:].reshape(-1, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].astype(np.int32)


def _read_records(path: Path) -> UInt8[np.ndarray, "records bytes"]:
    """The 3,073-byte records of one file."""
    data = _read_bytes(path)
    expected = RECORDS_PER_FILE * RECORD_BYTES
    if len(data) != expected:
        raise InputError(f"{path} has {len(data):,} bytes, not {expected:,}; extract the archive again")
    return np.frombuffer(data, np.uint8).reshape(RECORDS_PER_FILE, RECORD_BYTES)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): data_dir must be the folder {FOLDER} that "
            "cifar-10-binary.tar.gz extracts to"
        ) from error
