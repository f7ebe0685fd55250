"""Reads CIFAR-10 and CIFAR-100 from their published binary archives, packed or extracted."""

import dataclasses
import gzip
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from resnet_alexnet.errors import InputError

IMAGE_SIZE = 32  # pixels
CHANNELS = 3
IMAGE_BYTES = CHANNELS * IMAGE_SIZE * IMAGE_SIZE  # the red, green and blue planes

Arrays = tuple[UInt8[np.ndarray, "num_examples 32 32 3"], Int32[np.ndarray, "num_examples"]]


@dataclasses.dataclass(frozen=True)
class Archive:
    """The layout of a binary archive. Its files are rows of bytes: labels, then the image.

    Attributes:
        name: name of the data set.
        file: file name of the archive.
        folder: name of the extracted folder.
        train: files of the training set, and the number of images in each.
        test: files of the test set, and the number of images in each.
        classes: text file with the class names.
        label_bytes: the labels at the start of a row, and the number of values of each. The last is the class.
    """

    name: str
    file: str
    folder: str
    train: dict[str, int]
    test: dict[str, int]
    classes: str
    label_bytes: dict[str, int]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return list(self.label_bytes.values())[-1]

    @property
    def row_bytes(self) -> int:
        """Size of a row in bytes: labels and image."""
        return len(self.label_bytes) + IMAGE_BYTES


CIFAR10 = Archive(
    name="cifar10",
    file="cifar-10-binary.tar.gz",
    folder="cifar-10-batches-bin",
    train={f"data_batch_{number}.bin": 10_000 for number in range(1, 6)},
    test={"test_batch.bin": 10_000},
    classes="batches.meta.txt",
    label_bytes={"label": 10},
)
CIFAR100 = Archive(
    name="cifar100",
    file="cifar-100-binary.tar.gz",
    folder="cifar-100-binary",
    train={"train.bin": 50_000},
    test={"test.bin": 10_000},
    classes="fine_label_names.txt",
    label_bytes={"coarse label": 20, "fine label": 100},
)


def read_cifar10(data_dir: str | os.PathLike[str]) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Reads (images, labels) of the 50,000 training and 10,000 test images, and the names of the 10 classes.

    Args:
        data_dir: the archive `cifar-10-binary.tar.gz`, the extracted folder `cifar-10-batches-bin`, or a folder that
            contains one of them.

    Raises:
        InputError: data_dir is empty, or a file is missing, damaged or of the wrong size.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; the archive's binary version.
    """
    return _read(data_dir, CIFAR10)


def read_cifar100(data_dir: str | os.PathLike[str]) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Reads (images, fine labels) of the 50,000 training and 10,000 test images, and the names of the 100 classes.

    Args:
        data_dir: the archive `cifar-100-binary.tar.gz`, the extracted folder `cifar-100-binary`, or a folder that
            contains one of them.

    Raises:
        InputError: data_dir is empty, or a file is missing, damaged or of the wrong size.

    Source: see `read_cifar10`.
    """
    return _read(data_dir, CIFAR100)


def _read(data_dir: str | os.PathLike[str], archive: Archive) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Reads (images, labels) of both splits, and the class names."""
    place, files = _read_files(data_dir, archive)
    names = files[archive.classes].decode("utf-8", errors="replace").split()
    if len(names) != archive.num_classes:
        raise InputError(
            f"{place / archive.classes} has {len(names)} class names, not {archive.num_classes}: "
            f"extract or download {archive.file} again"
        )
    splits = []
    for sizes in (archive.train, archive.test):
        rows = np.concatenate([_rows(files[name], count, archive, path=place / name) for name, count in sizes.items()])
        planes = rows[:, -IMAGE_BYTES:].reshape(-1, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
        labels = rows[:, len(archive.label_bytes) - 1].astype(np.int32)
        splits.append((np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels))
    return *splits, tuple(names)


def _rows(data: bytes, count: int, archive: Archive, *, path: Path) -> UInt8[np.ndarray, "images bytes"]:
    """Returns the rows of one file after checking its size and labels."""
    expected = count * archive.row_bytes
    if len(data) != expected:
        raise InputError(f"{path} has {len(data):,} bytes, not {expected:,}: extract or download {archive.file} again")
    rows = np.frombuffer(data, np.uint8).reshape(count, archive.row_bytes)
    for column, (label, values) in enumerate(archive.label_bytes.items()):
        bad = np.flatnonzero(rows[:, column] >= values)
        if len(bad):
            raise InputError(
                f"{path} is damaged: the {label} of image {bad[0]} is {rows[bad[0], column]} (allowed: 0 to "
                f"{values - 1}); extract or download {archive.file} again"
            )
    return rows


def _read_files(data_dir: str | os.PathLike[str], archive: Archive) -> tuple[Path, dict[str, bytes]]:
    """Returns the path of the archive's files, for messages, and their contents by name."""
    remedy = (
        f"data_dir must be {archive.file}, the extracted folder {archive.folder}, or a folder that contains one of them"
    )
    if not data_dir:
        raise InputError(f"{archive.name} needs data_dir: {remedy}")
    given = Path(data_dir)
    names = [archive.classes, *archive.train, *archive.test]
    for packed in (given, given / archive.file):
        if packed.is_file() and not (given / archive.folder).is_dir():
            return packed / archive.folder, _unpack(packed, archive.folder, names)
    folder = given / archive.folder if (given / archive.folder).is_dir() else given
    files = {}
    for name in names:
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / name} cannot be read ({error.strerror}): {remedy}") from error
    return folder, files


def _unpack(path: Path, folder: str, names: list[str]) -> dict[str, bytes]:
    """Returns the contents of the files `names` in `folder` of a `.tar.gz`, by name. Writes nothing to disk."""
    files = {}
    try:
        # Read in the archive's order: seeking back would decompress it again.
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as members:
            for member in members:
                inside, _, name = member.name.removeprefix("./").rpartition("/")
                content = members.extractfile(member) if inside == folder and name in names else None
                if content is not None:
                    files[name] = content.read()
            while stream.read(2**20):  # the checksum is at the end
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path} cannot be unpacked ({error}): download it again") from error
    missing = [name for name in names if name not in files]
    if missing:
        raise InputError(f"{path} is not the published archive: it lacks {folder}/{missing[0]}; download it again")
    return files
