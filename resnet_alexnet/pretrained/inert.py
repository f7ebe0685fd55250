"""Reads a pickle of tensors, NumPy arrays and plain containers. No code of it runs: all else becomes `Inert` objects.

Source: torch.serialization; numpy.ndarray.__reduce__.
"""

import functools
import io
import math
import pickle
import pickletools
import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

# The pickle gets these names, not the types, whose methods it could call.
STORAGES = {
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
_MOST_REPEATED = 2**16  # numbers of an expanded tensor; a few bytes could stand for any number
FindStorage = Callable[[str, np.dtype, int], np.ndarray]  # by key, type and length
LoadBytes = Callable[[bytes], Any]  # loads a file of torch that is inside another


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


class Expanded(Inert):
    """A tensor of very many numbers of which the file has few."""

    kind = "torch.Tensor.expand"


_UNREAD = {
    "torch._utils._rebuild_sparse_tensor": "sparse; save it with to_dense()",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse; save it with to_dense()",
    "torch._utils._rebuild_qtensor": "quantized; save it with dequantize()",
    "torch._utils._rebuild_meta_tensor_no_storage": "on the device meta, without numbers",
    "torch._utils._rebuild_nested_tensor": "nested",
    Expanded.kind: "expanded; save it with contiguous()",
}


def why_unread(value: Any) -> str:
    """Returns of which kind a tensor is that is not read; an empty string for all else."""
    kind = value.kind if isinstance(value, Inert) else ""
    if kind.startswith("torch.Complex"):
        return "complex"
    is_tensor = re.fullmatch(r"torch\._utils\._rebuild_\w+|torch\.\w+Storage", kind)
    return _UNREAD.get(kind, f"made by {kind[:80]}" if is_tensor else "")


class Wrapped(Inert):
    """An array that was saved as an object, which gets its contents later."""

    @property
    def array(self) -> Any:
        """The array, if the object is one."""
        raise NotImplementedError


class Parameter(Wrapped):
    """A parameter that was saved as an object, as torch before 0.4 did."""

    @property
    def array(self) -> Any:
        """Its tensor: what it was made of, or the first part of its state."""
        return next(iter(self.arguments or self.state or (None,)))


class NumpyArray(Wrapped):
    """An array of NumPy: (version, shape, dtype, whether in Fortran's order, bytes) is its state."""

    @property
    def array(self) -> np.ndarray | None:
        """The array; None if it is not of numbers, or its bytes are too few."""
        try:
            _, shape, kind, is_fortran, data = self.state
            dtype = _numpy_type(kind)
            if not math.prod(shape):
                return np.zeros(shape, dtype)
            if math.prod(shape) * dtype.itemsize != len(data):
                return None
            return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
        except (TypeError, ValueError):  # a file may say anything
            return None


class _NumpyBuffer(NumpyArray):
    """The same from (bytes, dtype, shape, order), as protocol 5 has it."""

    @property
    def array(self) -> np.ndarray | None:
        data, kind, shape, order = self.arguments if len(self.arguments) == 4 else (None,) * 4
        self.__setstate__((1, shape, kind, order == "F", data))
        return super().array


class _Negated(Wrapped):
    """A tensor that torch saved with its negative bit: the numbers in the file are the negatives of its own."""

    kind = "torch.Tensor"

    @property
    def array(self) -> np.ndarray | None:
        """The tensor; None if its type has no negatives. The older format fills its numbers in after the pickle."""
        (view,) = self.arguments
        return None if view.dtype == np.bool_ else -view


def _numpy_type(kind: Any) -> np.dtype:
    """The type that a pickled numpy.dtype describes: ("f4", ...) and the state (version, byte order, ...)."""
    name, order = kind.arguments[0], kind.state[1] if kind.state else "<"
    if not re.fullmatch(r"[fiu][1248]|b1", name) or order not in "<>=|":
        raise ValueError(name)
    return np.dtype(order + name)


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


_NUMPY = {
    f"{package}.{name}": kind
    for package in ("numpy.core", "numpy._core")
    for name, kind in (("multiarray._reconstruct", NumpyArray), ("numeric._frombuffer", _NumpyBuffer))
}


class Unpickler(pickle.Unpickler):
    """Knows the few names that tensors and plain containers need, and loads their storages; all else is `Inert`."""

    def __init__(self, file: io.BufferedIOBase, find_storage: FindStorage, load_bytes: LoadBytes):
        """Prepares; `find_storage` and `load_bytes` find what is outside of the pickle."""
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
            "torch.storage._load_from_bytes": functools.cache(load_bytes),
            "torch._tensor._rebuild_from_type_v2": lambda rebuild, kind, parts, state: rebuild(*parts),
            "torch._utils._rebuild_tensor": lambda *parts: tensor(*parts[:4]),
            "torch._utils._rebuild_tensor_v2": lambda *parts: _with_bits(tensor(*parts[:4]), *parts[6:]),
            "torch._utils._rebuild_tensor_v3": lambda *parts: _with_bits(
                tensor(_as_type(parts[0], parts[6]), *parts[1:4]), *parts[7:]
            ),
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
            **{f"torch.{name}": name for name in (*STORAGES, *_DTYPES)},
        }

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a name: a known function or class of ours, else a new class of `Inert` objects."""
        kind = f"{module}.{name}"
        if kind in ("torch.nn.parameter.Parameter", "torch.nn.Parameter", "torch.autograd.variable.Variable"):
            return self._known.setdefault(kind, type("Parameter", (Parameter,), {"kind": kind}))
        if kind in _NUMPY:
            return self._known.setdefault(kind, type("NumpyArray", (_NUMPY[kind],), {"kind": kind}))
        if kind not in self._known:
            self._known[kind] = type("Inert", (Inert,), {"kind": kind})
        return self._known[kind]

    def persistent_load(self, pid: Any) -> Any:
        """Returns the storage that a reference names, as an array."""
        kind, storage, key, _, length, *view = pid
        if isinstance(storage, type):  # of a type of number that numpy lacks
            return storage()
        if kind != "storage" or storage not in STORAGES or not isinstance(length, int) or length < 0:
            raise pickle.UnpicklingError(f"a reference to {length!r} of {kind!r} {storage!r}")
        dtype = np.dtype(STORAGES[storage])
        array = self._find_storage(str(key), dtype, length)
        if array.dtype != dtype or len(array) != length:
            raise pickle.UnpicklingError(f"storage {key} is not {length} {dtype}")
        if view and view[0] is not None:  # torch before 0.4: a storage inside another
            _, offset, size = view[0]
            return array[offset : offset + size]
        return array


def _as_type(storage: np.ndarray, dtype: Any) -> np.ndarray:
    """Views the bytes of a storage as a type that has no storage class of its own."""
    if isinstance(storage, Inert):
        return storage
    if storage.dtype != np.uint8 or dtype not in _UNTYPED:
        raise pickle.UnpicklingError(f"a tensor of {dtype!r} in a storage of {storage.dtype}")
    return storage.view(dtype)


def _with_bits(view: Any, bits: Any = None) -> Any:
    """Returns a tensor with the bits that torch.serialization saves beside it.

    They are {"neg": bool, "conj": bool}. A real number is its own conjugate.

    Raises:
        UnpicklingError: there are other bits.
    """
    if bits and not (isinstance(bits, dict) and bits.keys() <= {"neg", "conj"}):
        raise pickle.UnpicklingError(f"a tensor with the metadata {str(bits)[:80]}")
    return _Negated(view) if bits and bits.get("neg") and isinstance(view, np.ndarray) else view


def tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    """A view of a storage; raises if the view would exceed the storage. One that repeats very many is `Expanded`."""
    if isinstance(storage, Inert):
        return storage
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    is_expanded = 0 in stride and min((offset, *size, *stride)) >= 0 and count > len(storage) > last
    if is_expanded and count > _MOST_REPEATED:
        return Expanded()
    exceeds = (count and last >= len(storage)) or (count > len(storage) and not is_expanded)
    if exceeds or min((offset, *size, *stride)) < 0:
        raise pickle.UnpicklingError(f"a tensor of size {size} and stride {stride} at {offset} exceeds its storage")
    strides = [step * storage.itemsize for step in stride]
    view = np.ndarray(size, storage.dtype, storage.view(np.uint8).data, offset * storage.itemsize, strides)
    view.flags.writeable = False
    return view
