"""Reads CIFAR-10 and CIFAR-100 from their published archives, binary or pickled, packed or extracted."""

import dataclasses
import gzip
import operator
import os
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from resnet_alexnet.data.readers import plain_pickle
from resnet_alexnet.errors import InputError

IMAGE_SIZE = 32  # pixels
CHANNELS = 3
IMAGE_BYTES = CHANNELS * IMAGE_SIZE * IMAGE_SIZE  # the red, green and blue planes

Arrays = tuple[UInt8[np.ndarray, "num_examples 32 32 3"], Int32[np.ndarray, "num_examples"]]


@dataclasses.dataclass(frozen=True)
class Archive:
    """The layout of an archive. The files of the binary version are rows of bytes: labels, then the image.

    Attributes:
        name: name of the data set.
        file: file name of the archive.
        folder: name of the extracted folder.
        train: files of the training set, and the number of images in each.
        test: files of the test set, and the number of images in each.
        classes: file with the class names.
        labels: the labels of an image, and the number of values of each. The last is the class.
        is_pickled: whether it is the Python version, whose files are pickles.
    """

    name: str
    file: str
    folder: str
    train: dict[str, int]
    test: dict[str, int]
    classes: str
    labels: dict[str, int]
    is_pickled: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return list(self.labels.values())[-1]

    @property
    def row_bytes(self) -> int:
        """Size of a row in bytes: labels and image."""
        return len(self.labels) + IMAGE_BYTES


CIFAR10 = (
    Archive(
        name="cifar10",
        file="cifar-10-binary.tar.gz",
        folder="cifar-10-batches-bin",
        train={f"data_batch_{number}.bin": 10_000 for number in range(1, 6)},
        test={"test_batch.bin": 10_000},
        classes="batches.meta.txt",
        labels={"label": 10},
    ),
    Archive(
        name="cifar10",
        file="cifar-10-python.tar.gz",
        folder="cifar-10-batches-py",
        train={f"data_batch_{number}": 10_000 for number in range(1, 6)},
        test={"test_batch": 10_000},
        classes="batches.meta",
        labels={"label": 10},
        is_pickled=True,
    ),
)
CIFAR100 = (
    Archive(
        name="cifar100",
        file="cifar-100-binary.tar.gz",
        folder="cifar-100-binary",
        train={"train.bin": 50_000},
        test={"test.bin": 10_000},
        classes="fine_label_names.txt",
        labels={"coarse label": 20, "fine label": 100},
    ),
    Archive(
        name="cifar100",
        file="cifar-100-python.tar.gz",
        folder="cifar-100-python",
        train={"train": 50_000},
        test={"test": 10_000},
        classes="meta",
        labels={"coarse label": 20, "fine label": 100},
        is_pickled=True,
    ),
)
_MOST_BYTES = 2**28  # of a file; the largest published one has 155 MB


def read_cifar10(data_dir: str | os.PathLike[str]) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Reads (images, labels) of the 50,000 training and 10,000 test images, and the names of the 10 classes.

    Args:
        data_dir: the archive `cifar-10-binary.tar.gz` or `cifar-10-python.tar.gz`, the folder extracted from it, or a
            folder that contains one of these.

    Raises:
        InputError: data_dir is empty, or a file is missing, damaged or of the wrong size.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    return _read(data_dir, CIFAR10)


def read_cifar100(data_dir: str | os.PathLike[str]) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Reads (images, fine labels) of the 50,000 training and 10,000 test images, and the names of the 100 classes.

    Args:
        data_dir: the archive `cifar-100-binary.tar.gz` or `cifar-100-python.tar.gz`, the folder extracted from it, or a
            folder that contains one of these.

    Raises:
        InputError: data_dir is empty, or a file is missing, damaged or of the wrong size.

    Source: see `read_cifar10`.
    """
    return _read(data_dir, CIFAR100)


def _read(data_dir: str | os.PathLike[str], archives: Sequence[Archive]) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Reads (images, labels) of both splits, and the class names, from the archive of several that is there."""
    archive, place, files = _read_files(data_dir, archives)
    names = _class_names(files[archive.classes], archive, path=place / archive.classes)
    if len(names) != archive.num_classes:
        raise InputError(
            f"{place / archive.classes} has {len(names)} class names, not {archive.num_classes}: "
            f"extract or download {archive.file} again"
        )
    splits = []
    for sizes in (archive.train, archive.test):
        rows = np.concatenate([_rows(files[name], count, archive, path=place / name) for name, count in sizes.items()])
        planes = rows[:, -IMAGE_BYTES:].reshape(-1, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
        labels = rows[:, len(archive.labels) - 1].astype(np.int32)
        splits.append((np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels))
    return *splits, tuple(names)


def _class_names(data: bytes, archive: Archive, *, path: Path) -> list[str]:
    if not archive.is_pickled:
        return data.decode("utf-8", errors="replace").split()
    names = _unpickle(data, path, archive, "fine_label_names" if len(archive.labels) > 1 else "label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise InputError(f"{path} has no list of class names: extract or download {archive.file} again")
    return [name.decode("utf-8", errors="replace") if isinstance(name, bytes) else name for name in names]


def _rows(data: bytes, count: int, archive: Archive, *, path: Path) -> UInt8[np.ndarray, "images bytes"]:
    """Returns the rows of one file, as in the binary version, after checking its size and labels."""
    if archive.is_pickled:
        rows = _pickled_rows(data, archive, path=path)
        if rows.shape != (count, archive.row_bytes):
            raise InputError(
                f"{path} has {len(rows):,} images of {rows.shape[1] - len(archive.labels):,} bytes, not {count:,} of "
                f"{IMAGE_BYTES:,}: extract or download {archive.file} again"
            )
    else:
        expected = count * archive.row_bytes
        if len(data) != expected:
            raise InputError(
                f"{path} has {len(data):,} bytes, not {expected:,}: extract or download {archive.file} again"
            )
        rows = np.frombuffer(data, np.uint8).reshape(count, archive.row_bytes)
    for column, (label, values) in enumerate(archive.labels.items()):
        bad = np.flatnonzero(rows[:, column] >= values)
        if len(bad):
            raise InputError(
                f"{path} is damaged: the {label} of image {bad[0]} is {rows[bad[0], column]} (allowed: 0 to "
                f"{values - 1}); extract or download {archive.file} again"
            )
    return rows


def _pickled_rows(data: bytes, archive: Archive, *, path: Path) -> UInt8[np.ndarray, "images bytes"]:
    """Returns the images and labels of a pickle as rows of the binary version."""
    keys = [f"{label.replace(' ', '_')}s" for label in archive.labels]
    images, *labels = _unpickle(data, path, archive, "data", *keys)
    try:
        columns = [np.array([operator.index(label) for label in column]) for column in labels]
        if (
            not isinstance(images, np.ndarray)
            or images.ndim != 2
            or {len(column) for column in columns} != {len(images)}
        ):
            raise ValueError("not one label for each image")
        # A label that no byte holds becomes 255, which is no class.
        stacked = np.stack([np.where((column < 0) | (column > 255), 255, column) for column in columns], axis=1)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is not as published ({error}): extract or download {archive.file} again") from None
    return np.concatenate([stacked.astype(np.uint8), images], axis=1)


def _unpickle(data: bytes, path: Path, archive: Archive, *keys: str) -> Any:
    """Returns the values of the keys in a pickled dict, or the value of the only key. No code runs."""
    try:
        values = plain_pickle.load(data)
        found = [values[key.encode()] if key.encode() in values else values[key] for key in keys]
    except Exception as error:  # of many types, if it is damaged
        reason = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise InputError(f"{path} cannot be read ({reason}): extract or download {archive.file} again") from None
    return found[0] if len(found) == 1 else found


def _read_files(
    data_dir: str | os.PathLike[str], archives: Sequence[Archive]
) -> tuple[Archive, Path, dict[str, bytes]]:
    """Returns the archive that is there, the path of its files, for messages, and their contents by name."""
    allowed = " or ".join(f"{archive.file} (extracted: {archive.folder})" for archive in archives)
    remedy = f"data_dir must be {allowed}, or a folder that contains one of them"
    if not data_dir:
        raise InputError(f"{archives[0].name} needs data_dir: {remedy}")
    given = Path(data_dir)
    if given.is_file():
        archive = next((archive for archive in archives if given.name == archive.file), None)
        return _unpack_first(given, archives if archive is None else [archive])
    for archive in archives:
        if (given / archive.folder).is_dir() or (given / archive.classes).is_file():
            folder = given / archive.folder if (given / archive.folder).is_dir() else given
            return archive, folder, _read_folder(folder, archive, remedy)
    for archive in archives:
        if (given / archive.file).is_file():
            return _unpack_first(given / archive.file, [archive])
    return archives[0], given, _read_folder(given, archives[0], remedy)


def _read_folder(folder: Path, archive: Archive, remedy: str) -> dict[str, bytes]:
    files = {}
    for name in (archive.classes, *archive.train, *archive.test):
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / name} cannot be read ({error.strerror}): {remedy}") from error
    return files


def _unpack_first(path: Path, archives: Sequence[Archive]) -> tuple[Archive, Path, dict[str, bytes]]:
    """Returns the first archive that `path` is, whatever its name is; see `_read_files`."""
    for archive in archives[:-1]:
        try:
            return archive, path / archive.folder, _unpack(path, archive)
        except InputError:
            continue
    return archives[-1], path / archives[-1].folder, _unpack(path, archives[-1])


def _unpack(path: Path, archive: Archive) -> dict[str, bytes]:
    """Returns the contents of an archive's files by name. Writes nothing to disk."""
    folder, names = archive.folder, [archive.classes, *archive.train, *archive.test]
    files = {}
    try:
        # Read in the archive's order: seeking back would decompress it again.
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as members:
            for member in members:
                inside, _, name = member.name.removeprefix("./").rpartition("/")
                content = members.extractfile(member) if inside == folder and name in names else None
                if content is not None and member.size <= _MOST_BYTES:
                    files[name] = content.read()
            while stream.read(2**20):  # the checksum is at the end
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path} cannot be unpacked ({error}): download it again") from error
    missing = [name for name in names if name not in files]
    if missing:
        raise InputError(f"{path} is not the published archive: it lacks {folder}/{missing[0]}; download it again")
    return files
