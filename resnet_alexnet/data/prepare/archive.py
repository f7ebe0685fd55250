"""Photographs in a tar archive, read where they lie. Nothing in a tar is compressed: each is a range of its bytes."""

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

# A photograph of an archive: (file name, class, where its bytes begin, how many they are).
Entry = tuple[str, str, int, int]


@dataclass(frozen=True, eq=False)
class ArchivePhotos:
    """The photographs of one archive, in its order.

    Names are kept as one string of bytes: a list of 1.28 million would be copied into every worker process at many
    times the memory.

    Attributes:
        file: the archive.
        classes: class names; a label is an index into them.
        labels: the class index of each photograph.
        names: all file names, one after the other.
        starts: where in `names` the name of each photograph begins; the last entry is the end of the last name.
        offsets, sizes: the range of bytes in `file` that holds each photograph.
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
        """The content of photograph `index`, as published, and its label.

        Raises:
            InputError: the archive cannot be read, or has become shorter.
        """
        try:
            with open(self.file, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), int(self.sizes[index]), int(self.offsets[index]))
        except OSError as error:
            raise InputError(f"{self.where(index)} cannot be read: {error.strerror}") from None
        if len(data) < self.sizes[index]:
            raise InputError(
                f"{self.where(index)} is cut off: the archive has changed since it was listed; start again"
            )
        return data, int(self.labels[index])

    def size(self, index: int) -> int:
        """Bytes of photograph `index`."""
        return int(self.sizes[index])

    def name(self, index: int) -> str:
        """The file name of photograph `index`, without folder; no other has it."""
        return self.names[self.starts[index] : self.starts[index + 1]].decode()

    def where(self, index: int) -> str:
        """The archive and the photograph's name, for messages."""
        return f"{self.file}: {self.name(index)}"


def to_photos(file: str, entries: Sequence[Entry], classes: Sequence[str]) -> ArchivePhotos:
    """The photographs of the entries that show one of `classes`, in their order.

    Raises:
        InputError: there are none, or a name occurs twice.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    entries = [entry for entry in entries if entry[1] in label_of]
    if not entries:
        raise InputError(f"{file} holds no photograph of the {len(classes):,} classes: give files that belong together")
    names, shown, offsets, sizes = zip(*entries, strict=True)
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{file} holds {name} {count} times: give the archive as published")
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
    """Every file of an archive, folders passed over; where it ends without its end mark, a tarfile.ReadError.

    Raises:
        InputError: something in it is neither file nor folder.
    """
    for member in archive:
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise InputError(f"{where} holds {member.name}, which is no plain file: give the archive as published")
        yield member
    # tarfile takes a damaged or missing header for the end. The true end is a block of zeros.
    file = cast(IO[bytes], archive.fileobj)
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"neither a file's header nor the end mark at byte {archive.offset:,}")
    while file.read(2**20):  # padding; of a compressed archive the checksum comes last
        pass


@contextmanager
def open_tar(path: str, *, remedy: str, mode: Literal["r:", "r:gz"] = "r:") -> Iterator[tarfile.TarFile]:
    """Opens an archive. What is wrong with it, then or while it is read, is an InputError that ends with `remedy`."""
    with tar_errors(path, remedy), open(path, "rb") as file, tarfile.open(fileobj=file, mode=mode) as archive:
        yield archive


@contextmanager
def tar_errors(where: str, remedy: str) -> Iterator[None]:
    """Turns what reading a bad archive raises into an InputError that names it."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(f"{where} is cut off, damaged or no tar archive ({error}): {remedy}") from None
    except OSError as error:  # a damaged gzip file is an OSError without number
        raise InputError(f"{where} cannot be read ({error.strerror or error}): {remedy}") from None
