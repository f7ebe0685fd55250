"""Reads photographs in a tar archive without unpacking it. A tar is not compressed: each file is a range of bytes."""

import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Literal, cast

import numpy as np
from jaxtyping import Int32, Int64

from resnet_alexnet.errors import InputError

# A photograph in an archive: (file name, class, offset in bytes, size in bytes).
Entry = tuple[str, str, int, int]


@dataclass(frozen=True, eq=False)
class ArchivePhotos:
    """The photographs of one archive, in its order.

    File names are kept in one byte string. A list of 1.28 million names takes many times the memory, in every worker
    process.

    Attributes:
        file: path of the archive.
        classes: class names; a label is an index into them.
        labels: the class index of each photograph.
        names: all file names, concatenated.
        starts: where in `names` the name of each photograph starts; the last entry is the end of the last name.
        offsets: where in `file` each photograph starts, in bytes.
        sizes: size of each photograph, in bytes.
    """

    file: str
    classes: tuple[str, ...]
    labels: Int32[np.ndarray, "num_photos"]
    names: bytes
    starts: Int64[np.ndarray, "num_photos+1"]
    offsets: Int64[np.ndarray, "num_photos"]
    sizes: Int64[np.ndarray, "num_photos"]

    @property
    def channels(self) -> int:
        """Color channels to decode to."""
        return 3

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> tuple[bytes, int]:
        """Returns the bytes of photograph `index`, as published, and its label.

        Raises:
            InputError: the archive cannot be read, or is shorter than when it was listed.
        """
        try:
            with open(self.file, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), int(self.sizes[index]), int(self.offsets[index]))
        except OSError as error:
            raise InputError(f"{self.where(index)} cannot be read: {error.strerror}") from None
        if len(data) < self.sizes[index]:
            raise InputError(
                f"{self.where(index)} is cut off: the archive has changed since it was listed; run the command again"
            )
        return data, int(self.labels[index])

    def size(self, index: int) -> int:
        """Returns the size of photograph `index`, in bytes."""
        return int(self.sizes[index])

    def name(self, index: int) -> str:
        """Returns the file name of photograph `index`, without folder. It is unique in the archive."""
        return self.names[self.starts[index] : self.starts[index + 1]].decode()

    def where(self, index: int) -> str:
        """Returns the archive and the photograph's name, for messages."""
        return f"{self.file}: {self.name(index)}"


def to_photos(file: str, entries: Sequence[Entry], classes: Sequence[str]) -> ArchivePhotos:
    """Selects the entries of the given classes, in their order.

    Args:
        file: path of the archive.
        entries: all photographs in the archive.
        classes: the classes to keep.

    Raises:
        InputError: no photograph is left, or a name occurs twice.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    entries = [entry for entry in entries if entry[1] in label_of]
    if not entries:
        raise InputError(f"{file} has no photographs of the {len(classes):,} classes: give files of the same release")
    names, shown, offsets, sizes = zip(*entries, strict=True)
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{file} has {name} {count} times: give the archive as published")
    encoded = [name.encode() for name in names]
    return ArchivePhotos(
        file=file,
        classes=tuple(classes),
        labels=np.array([label_of[wnid] for wnid in shown], np.int32),
        names=b"".join(encoded),
        starts=np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        offsets=np.array(offsets, np.int64),
        sizes=np.array(sizes, np.int64),
    )


def plain_files(archive: tarfile.TarFile, where: str) -> Iterator[tarfile.TarInfo]:
    """Yields every file of an archive, without folders and what a Mac leaves behind.

    Raises:
        InputError: a member is neither a file nor a folder.
        ReadError: the archive ends without its end mark.
    """
    for member in archive:
        if member.isdir() or is_left_by_a_mac(member.name):
            continue
        if not member.isreg() or member.issparse():
            raise InputError(f"{where} has {member.name}, which is not a regular file: give the archive as published")
        yield member
    # tarfile treats a damaged or missing header as the end of the archive. The real end is a block of zeros.
    file = cast(IO[bytes], archive.fileobj)
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"neither a file header nor the end mark at byte {archive.offset:,}")
    while file.read(2**20):  # padding, then the checksum of a compressed archive
        pass


def is_left_by_a_mac(name: str) -> bool:
    """Whether a path in an archive is one of those that a Mac adds: ._FILE and .DS_Store, and all in __MACOSX."""
    *folders, file = name.split("/")
    return file.startswith("._") or file == ".DS_Store" or "__MACOSX" in folders


@contextmanager
def open_tar(path: str, *, remedy: str, mode: Literal["r:", "r:gz"] = "r:") -> Iterator[tarfile.TarFile]:
    """Opens an archive. Errors while opening or reading it become an InputError that ends with `remedy`."""
    with tar_errors(path, remedy), open(path, "rb") as file, tarfile.open(fileobj=file, mode=mode) as archive:
        yield archive


@contextmanager
def tar_errors(where: str, remedy: str) -> Iterator[None]:
    """Turns errors of reading an archive into an InputError that starts with `where` and ends with `remedy`."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(f"{where} is cut off, damaged or not a tar archive ({error}): {remedy}") from None
    except OSError as error:  # includes damaged gzip files, without strerror
        raise InputError(f"{where} cannot be read ({error.strerror or error}): {remedy}") from None
