"""Reads files that torch saved, without torch: tensors become numpy arrays in plain containers. No code of them runs.

What else a file holds, such as the settings of a training script, becomes `Inert` objects: they keep what was saved,
and do nothing.

Source: torch.serialization, all three formats: the zip archive of torch 1.6 and later, the series of pickles of
torch 0.1.10 to 1.5, and the tar archive before.
"""

import io
import math
import pickle
import pickletools
import struct
import tarfile
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from resnet_alexnet.errors import InputError

ZIP = b"PK\x03\x04"  # the first bytes of two formats; a tar archive has TAR at TAR_AT
TAR, TAR_AT = b"ustar", 257
PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older format
# The pickle gets these names, not the types, whose methods it could call.
_STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "UntypedStorage": np.uint8,  # used for the types in _UNTYPED
}
_UNTYPED = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")
_DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", *_UNTYPED)

_DEVICE = 40  # letters of a device's name
_DEEPEST = 200  # tuples in one another; a deeper one would end the process when it is a key of a dict
_MOST_OPERATIONS = 20_000_000  # of a pickle
FindStorage = Callable[[str, np.dtype, int], np.ndarray]  # by key, type and length


class Inert:
    """An object of a file that is neither a tensor nor a plain container. It is never called and does nothing.

    Attributes:
        kind: the name of its class or function, "module.name".
        arguments: what it was made of.
        state: what the file says of it, such as the attributes of a module.
        items: its entries, if it is a dict of a class that is not known.
    """

    kind = ""
    arguments: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]

    def __new__(cls, *arguments: Any, **_: Any) -> "Inert":  # noqa: D102
        self = super().__new__(cls)
        self.__dict__.update(arguments=arguments, state=None, items={})
        return self

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__["state"] = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__dict__["items"][key] = value

    def append(self, _: Any) -> None:
        """Takes an element of a list of a class that is not known."""

    extend = add = append


class Parameter(Inert):
    """A parameter that was saved as an object, as torch before 0.4 did."""

    @property
    def tensor(self) -> Any:
        """Its tensor: what it was made of, or the first part of its state."""
        return next(iter(self.arguments or self.state or (None,)))


def load(path: Path) -> Any:
    """Loads the object in a file that torch saved.

    Raises:
        InputError: the file is an archive that torch did not save, or a TorchScript program.
        pickle.UnpicklingError: the file is damaged.
        Exception: likewise. The type varies.
    """
    with open(path, "rb") as file:
        beginning = file.read(TAR_AT + len(TAR))
        file.seek(0)
        if beginning[TAR_AT:] == TAR:
            return _load_tar(file)
        return _load_zip(file) if beginning.startswith(ZIP) else _load_pickles(file)


def _check_depth(file: Any) -> None:
    """Raises UnpicklingError if the pickle that begins here would take the process down, and stays at its beginning.

    Python's own reader trusts a file with how deep tuples are in one another, and with how large a memo is.
    """
    start, stack, marks, memo = file.tell(), [], [], {}
    depth = 0  # of the tuples in the object that was made last
    for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
        name, before, after = operation.name, operation.stack_before, operation.stack_after
        number = argument if isinstance(argument, int) else 0
        if count > _MOST_OPERATIONS or (name.endswith("PUT") and not 0 <= number <= count):
            raise pickle.UnpicklingError("an unusual pickle")
        if name == "MARK":
            marks.append(len(stack))
            continue
        if name.endswith("GET"):
            depth = memo.get(argument, 0)
        elif name.endswith("PUT") or name == "MEMOIZE":
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1] if stack else 0
            continue
        else:
            end = len(stack)
            if pickletools.markobject in before:
                end = marks.pop() if marks else 0
                end -= before.index(pickletools.markobject)
            else:
                end -= len(before)
            taken = stack[max(end, 0) :]
            del stack[max(end, 0) :]
            depth = max(taken, default=0) + ("TUPLE" in name)
        if depth > _DEEPEST:
            raise pickle.UnpicklingError("tuples are too deep in one another")
        stack += [depth] * len(after)
    file.seek(start)


class _Unpickler(pickle.Unpickler):
    """Knows the few names that tensors and plain containers need, and loads their storages; all else is `Inert`."""

    def __init__(self, file: io.BufferedIOBase, find_storage: FindStorage):
        super().__init__(file, encoding="utf-8")
        _check_depth(file)
        self._find_storage = find_storage
        # Functions and classes of this file's own: a pickle can set attributes on the objects that it gets.
        self._known: dict[str, Any] = {
            "_codecs.encode": lambda text, *_: text.encode("latin-1"),  # bytes, in protocol 2
            "collections.Counter": lambda *items: Counter(*items),
            "collections.OrderedDict": OrderedDict,
            "collections.defaultdict": lambda *_: {},
            "__builtin__.set": set,
            "builtins.set": set,
            "torch.Size": tuple,
            "torch.Tensor": "Tensor",
            "torch.device": lambda *parts: ":".join(str(part)[:_DEVICE] for part in parts)[:_DEVICE],
            "torch.storage.UntypedStorage": "UntypedStorage",
            "torch._tensor._rebuild_from_type_v2": lambda rebuild, kind, parts, state: rebuild(*parts),
            "torch._utils._rebuild_tensor": lambda *parts: _tensor(*parts[:4]),
            "torch._utils._rebuild_tensor_v2": lambda *parts: _tensor(*parts[:4]),
            "torch._utils._rebuild_tensor_v3": lambda *parts: _tensor(_as_type(parts[0], parts[6]), *parts[1:4]),
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
            **{f"torch.{name}": name for name in (*_STORAGES, *_DTYPES)},
        }

    def find_class(self, module: str, name: str) -> Any:
        kind = f"{module}.{name}"
        if kind in ("torch.nn.parameter.Parameter", "torch.nn.Parameter", "torch.autograd.variable.Variable"):
            return self._known.setdefault(kind, type("Parameter", (Parameter,), {"kind": kind}))
        if kind not in self._known:
            self._known[kind] = type("Inert", (Inert,), {"kind": kind})
        return self._known[kind]

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key, _, length, *view = pid
        if isinstance(storage, type):  # of a type of number that numpy lacks
            return storage()
        if kind != "storage" or storage not in _STORAGES or not isinstance(length, int) or length < 0:
            raise pickle.UnpicklingError(f"a reference to {length!r} of {kind!r} {storage!r}")
        dtype = np.dtype(_STORAGES[storage])
        array = self._find_storage(str(key), dtype, length)
        if array.dtype != dtype or len(array) != length:
            raise pickle.UnpicklingError(f"storage {key} is not {length} {dtype}")
        if view and view[0] is not None:  # torch before 0.4: a storage inside another
            _, offset, size = view[0]
            return array[offset : offset + size]
        return array


class _TarUnpickler(_Unpickler):
    """Finds tensors, not storages, by their number."""

    def __init__(self, file: io.BufferedIOBase, tensors: Mapping[Any, np.ndarray]):
        super().__init__(file, lambda *_: np.zeros(0))
        self._tensors = tensors

    def persistent_load(self, pid: Any) -> np.ndarray:
        return self._tensors[int(pid)]


def _as_type(storage: np.ndarray, dtype: Any) -> np.ndarray:
    """Views the bytes of a storage as a type that has no storage class of its own."""
    if isinstance(storage, Inert):
        return storage
    if storage.dtype != np.uint8 or dtype not in _UNTYPED:
        raise pickle.UnpicklingError(f"a tensor of {dtype!r} in a storage of {storage.dtype}")
    return storage.view(dtype)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    """A view of a storage; raises if the view would exceed the storage. One that repeats numbers is inert: a bomb."""
    if isinstance(storage, Inert):
        return storage
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if 0 in stride and min((offset, *size, *stride)) >= 0 and count > len(storage) > last:
        return Inert()
    if min((offset, *size, *stride)) < 0 or (count and last >= len(storage)) or count > len(storage):
        raise pickle.UnpicklingError(f"a tensor of size {size} and stride {stride} at {offset} exceeds its storage")
    strides = [step * storage.itemsize for step in stride]
    view = np.ndarray(size, storage.dtype, storage.view(np.uint8).data, offset * storage.itemsize, strides)
    view.flags.writeable = False
    return view


def _load_zip(file: io.BufferedReader) -> Any:
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
    return _Unpickler(io.BytesIO(read(pickled)), find_storage).load()


def _load_pickles(file: io.BufferedReader) -> Any:
    storages: dict[str, np.ndarray] = {}
    left = file.seek(0, io.SEEK_END)  # bytes that remain for storages
    file.seek(0)

    def load(find_storage: FindStorage = lambda *_: np.zeros(0)) -> Any:
        return _Unpickler(file, find_storage).load()

    def find_storage(key: str, dtype: np.dtype, length: int) -> np.ndarray:
        nonlocal left
        if key not in storages:
            left -= length * dtype.itemsize
            if left < 0:
                raise pickle.UnpicklingError("the file ends before its storages do")
            storages[key] = np.empty(length, dtype)  # filled below: storages follow the pickle
        return storages[key]

    if load() != _MAGIC or load() != _PROTOCOL:
        raise pickle.UnpicklingError("a pickle, but not saved by torch")
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


def _load_tar(file: io.BufferedReader) -> Any:
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
            dtype = np.dtype(_STORAGES[kind])
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
            tensors[key] = _tensor(storages[storage], numbers[-1], numbers[:rank], numbers[rank:-1])
        return load(member("pickle"), tensors)
