"""Reads pickles of plain values and numpy arrays of bytes. Nothing that a file names is imported or called.

Source: the Python version of CIFAR-10 and CIFAR-100, pickled by Python 2; and copies of it by later versions.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

_RECONSTRUCT = tuple(f"{package}.multiarray._reconstruct" for package in ("numpy.core", "numpy._core"))
_FROM_BUFFER = tuple(f"{package}.numeric._frombuffer" for package in ("numpy.core", "numpy._core"))


def load(data: bytes) -> Any:
    """Returns the value in a pickle. Text of Python 2 is returned as bytes.

    Raises:
        pickle.UnpicklingError: it needs something else; the message has the name. Or it is damaged.
        Exception: it is damaged. The type varies.
    """
    return _as_arrays(_Unpickler(io.BytesIO(data), encoding="bytes").load())


class _Array:
    """An array of bytes in a pickle, which sets its state."""

    def __init__(self) -> None:
        self.shape: Any = None
        self.content: Any = None

    def __setstate__(self, state: Any) -> None:
        _, self.shape, kind, is_fortran, self.content = state
        if is_fortran or not isinstance(kind, _Type) or kind.name not in (b"u1", "u1"):
            raise pickle.UnpicklingError("an array that is not of bytes in rows")


class _Type:
    """The type of an array in a pickle, which sets its state."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Passes the state over: byte order and alignment are nothing to bytes."""


# What such pickles are made of: plain values, lists, tuples, dicts, and calls of the names below.
_OPCODES = (
    *("MARK", "STOP", "POP", "POP_MARK", "DUP", "PROTO", "FRAME", "REDUCE", "BUILD", "GLOBAL", "STACK_GLOBAL"),
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT"),
    *("BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
)
# Where the keys are on the stack when an opcode puts items into a dict.
_KEYS = {"SETITEM": slice(-2, None, 2), "SETITEMS": slice(0, None, 2), "DICT": slice(0, None, 2)}
_LOADERS = pickle._Unpickler.dispatch


def _refuse(unpickler: Any) -> None:
    raise pickle.UnpicklingError("it has more than plain values and arrays")


def _checked(load: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """Returns `load` with a check of the keys before. To hash a tuple in a tuple, and so on, can crash Python."""

    def checked(unpickler: Any) -> None:
        if not all(isinstance(key, str | bytes) for key in unpickler.stack[keys]):
            raise pickle.UnpicklingError("a key that is not text")
        load(unpickler)

    return checked


class _Unpickler(pickle._Unpickler):
    """Gives a pickle objects of this module for the few names that arrays need.

    Python's own unpickler in C trusts the numbers in a file: it makes room for what ten bytes ask for.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **dict.fromkeys(range(256), _refuse),
        **{code: _LOADERS[code] for name in _OPCODES for code in getattr(pickle, name)},
        **{code: _checked(_LOADERS[code], keys) for name, keys in _KEYS.items() for code in getattr(pickle, name)},
        pickle.BYTEARRAY8[0]: _LOADERS[pickle.BINBYTES8[0]],  # makes no room before it has read
    }

    def find_class(self, module: str, name: str) -> Any:
        # New functions on each call: a pickle can set attributes on the objects that it gets.
        known = {
            "_codecs.encode": lambda text, *_: text.encode("latin-1"),  # bytes, in protocol 2 of Python 3
            "numpy.ndarray": "ndarray",
            "numpy.dtype": lambda *parts: _Type(*parts),
            **dict.fromkeys(_RECONSTRUCT, lambda *_: _Array()),
            **dict.fromkeys(_FROM_BUFFER, lambda *parts: _from_buffer(*parts)),
        }
        if f"{module}.{name}" not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not loaded")
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to other files")


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, kind, order != "C", content))
    return array


def _as_arrays(value: Any) -> Any:
    """Replaces the arrays among the values of a dict, which may else have plain values and lists of them."""
    if not isinstance(value, dict):
        raise pickle.UnpicklingError("a value that is not a dict")
    for item in value.values():
        if not isinstance(item, _Array) and not all(map(_is_plain, item if isinstance(item, list | tuple) else [item])):
            raise pickle.UnpicklingError("a value that is neither plain, an array nor a list of plain values")
    return {key: _as_array(item) if isinstance(item, _Array) else item for key, item in value.items()}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str | bytes)


def _as_array(array: _Array) -> np.ndarray:
    content = array.content
    content = content.encode("latin-1") if isinstance(content, str) else content
    return np.frombuffer(content, np.uint8).reshape(array.shape)
