"""Reads files that torch saved, without torch: tensors become numpy arrays in plain containers. No code of them runs.

What else a file holds, such as the settings of a training script, becomes `inert.Inert` objects: they keep what was
saved, and do nothing.

Source: torch.serialization, all three formats: the zip archive of torch 1.6 and later, the series of pickles of
torch 0.1.10 to 1.5, and the tar archive before; and Python's pickle of a state dict.
"""

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.inert import STORAGES, FindStorage, Unpickler, tensor

ZIP = b"PK\x03\x04"  # the first bytes of two formats; a tar archive has TAR at TAR_AT
TAR, TAR_AT = b"ustar", 257
PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older format


def load(path: Path) -> Any:
    """Loads the object in a file that torch saved.

    Raises:
        InputError: the file is an archive that torch did not save, or a TorchScript program.
        pickle.UnpicklingError: the file is damaged.
        Exception: likewise. The type varies.
    """
    with open(path, "rb") as file:
        return _load(file)


def _load(file: io.BufferedIOBase) -> Any:
    beginning = file.read(TAR_AT + len(TAR))
    file.seek(0)
    if beginning[TAR_AT:] == TAR:
        return _load_tar(file)
    return _load_zip(file) if beginning.startswith(ZIP) else _load_pickles(file)


def _load_bytes(data: Any) -> Any:
    return _load(io.BytesIO(data))


class _TarUnpickler(Unpickler):
    """Finds tensors, not storages, by their number."""

    def __init__(self, file: io.BufferedIOBase, tensors: Mapping[Any, np.ndarray]):
        super().__init__(file, lambda *_: np.zeros(0), _load_bytes)
        self._tensors = tensors

    def persistent_load(self, pid: Any) -> np.ndarray:
        return self._tensors[int(pid)]


def _load_zip(file: io.BufferedIOBase) -> Any:
    archive = zipfile.ZipFile(file)
    pickled = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
    if pickled is None:
        raise InputError("a zip archive that torch did not save")
    folder = pickled.removesuffix("data.pkl")
    if f"{folder}constants.pkl" in archive.namelist():
        raise InputError(
            "a TorchScript program, not weights: where it was made, save the state_dict() of the module instead"
        )
    storages: dict[str, np.ndarray] = {}

    def read(name: str) -> bytes:
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:  # torch never compresses; this may be a zip bomb
            raise pickle.UnpicklingError(f"{name} is compressed")
        return archive.read(name)

    def find_storage(key: str, dtype: np.dtype, length: int) -> np.ndarray:
        if key not in storages:
            storages[key] = np.frombuffer(read(f"{folder}data/{key}"), dtype)
        return storages[key]

    if f"{folder}byteorder" in archive.namelist() and read(f"{folder}byteorder") != b"little":
        raise pickle.UnpicklingError("big-endian numbers are not supported")
    return Unpickler(io.BytesIO(read(pickled)), find_storage, _load_bytes).load()


def _load_pickles(file: io.BufferedIOBase) -> Any:
    storages: dict[str, np.ndarray] = {}
    left = file.seek(0, io.SEEK_END)  # bytes that remain for storages
    file.seek(0)

    def load(find_storage: FindStorage = lambda *_: np.zeros(0)) -> Any:
        return Unpickler(file, find_storage, _load_bytes).load()

    def find_storage(key: str, dtype: np.dtype, length: int) -> np.ndarray:
        nonlocal left
        if key not in storages:
            left -= length * dtype.itemsize
            if left < 0:
                raise pickle.UnpicklingError("the file ends before its storages do")
            storages[key] = np.empty(length, dtype)  # filled below: storages follow the pickle
        return storages[key]

    first = load()
    if not isinstance(first, int) or first != _MAGIC:
        return first  # of pickle.dump
    if load() != _PROTOCOL:
        raise pickle.UnpicklingError("a pickle of a later torch")
    if not load()["little_endian"]:
        raise pickle.UnpicklingError("big-endian numbers are not supported")
    contents = load(find_storage)
    keys = load()
    if set(keys) != storages.keys():
        raise pickle.UnpicklingError("the storages do not match the tensors")
    for key in keys:
        storage = storages[key]
        (length,) = struct.unpack("<q", file.read(8))
        if length != len(storage) or file.readinto(storage.view(np.uint8).data) != storage.nbytes:
            raise pickle.UnpicklingError(f"storage {key} is truncated")
    return contents


def _load_tar(file: io.BufferedIOBase) -> Any:
    """The tar archive of torch before 0.1.10: `storages`, `tensors`, their views, and a `pickle` of the tensors."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        members = {member.name: member for member in archive if member.isreg() and not member.issparse()}
        if not {"sys_info", "pickle", "storages", "tensors"} <= members.keys():
            raise InputError("a tar archive that torch did not save")

        def member(name: str) -> io.BytesIO:
            return io.BytesIO(file_of.read() if (file_of := archive.extractfile(members[name])) else b"")

        def load(stream: io.BytesIO, tensors: Mapping[Any, np.ndarray] | None = None) -> Any:
            return _TarUnpickler(stream, tensors or {}).load()

        if not load(member("sys_info"))["little_endian"]:
            raise pickle.UnpicklingError("big-endian numbers are not supported")
        storages: dict[Any, np.ndarray] = {}
        stream = member("storages")
        for _ in range(load(stream)):
            key, _, kind = load(stream)
            (length,) = struct.unpack("<q", stream.read(8))
            dtype = np.dtype(STORAGES[kind])
            data = stream.read(length * dtype.itemsize)
            storages[key] = np.frombuffer(data, dtype, length)
        for key, root, offset, length in load(stream):  # a storage inside another
            storages[key] = storages[root][offset : offset + length]
        tensors: dict[Any, np.ndarray] = {}
        stream = member("tensors")
        for _ in range(load(stream)):
            key, storage, _ = load(stream)
            (rank,) = struct.unpack("<i4x", stream.read(8))
            numbers = struct.unpack(f"<{2 * rank + 1}q", stream.read(16 * rank + 8))
            tensors[key] = tensor(storages[storage], numbers[-1], numbers[:rank], numbers[rank:-1])
        return load(member("pickle"), tensors)
