"""Reads pickles of plain values and numpy arrays of bytes. Nothing that a file names is imported or called.

Source: the Python version of CIFAR-10 and CIFAR-100, pickled by Python 2; and copies of it by later versions.
"""

import io
import pickle
from typing import Any

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


class _Unpickler(pickle.Unpickler):
    """Gives a pickle objects of this module for the few names that arrays need."""

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
    """Replaces the arrays among the values of a dict."""
    if not isinstance(value, dict):
        return value
    return {key: _as_array(item) if isinstance(item, _Array) else item for key, item in value.items()}


def _as_array(array: _Array) -> np.ndarray:
    content = array.content
    content = content.encode("latin-1") if isinstance(content, str) else content
    return np.frombuffer(content, np.uint8).reshape(array.shape)
