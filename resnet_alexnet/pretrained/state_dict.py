"""Reads weight files of any origin, without running code from them."""

import json
import re
import struct
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors

from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import torch_file

_DTYPES = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "BOOL": np.bool_},
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
}
_NESTED = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
)  # keys under which training scripts save the weights
_OTHERS = {  # first bytes of other files that are mistaken for weights
    b"<": "a web page, not weights: download the file again",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: run git lfs pull",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x89HDF": "an HDF5 file, which is not supported",
}


@dataclass(frozen=True)
class StateDict:
    """The contents of a weight file.

    Attributes:
        arrays: the arrays by name; floating-point arrays as float32.
        metadata: the text metadata of a .safetensors file, else empty.
    """

    arrays: dict[str, np.ndarray]
    metadata: Mapping[str, str]


def read(path: Path) -> StateDict:
    """Reads a .safetensors file, or a file that torch saved with a state dict or a dict that contains one.

    The format is found by content, not by suffix. The prefix "module." of torch's data parallelism is removed.

    Raises:
        InputError: the file cannot be read, is damaged, has another format, or would call a function when unpickled.
    """
    try:
        with open(path, "rb") as file:
            beginning = file.read(32)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not beginning:
        raise InputError(f"{path} is empty")
    if beginning[8:9] == b"{":
        return _read_safetensors(path)
    if beginning.startswith((torch_file.ZIP, *torch_file.PICKLES)):
        return StateDict(_without_prefix(_find_arrays(_read_torch(path), path)), {})
    kinds = (kind for start, kind in _OTHERS.items() if beginning.lstrip().startswith(start))
    kind = next(kinds, f"neither a .safetensors file nor a torch file: it begins with {beginning[:8]!r}")
    raise InputError(f"{path} is {kind}")


def _read_safetensors(path: Path) -> StateDict:
    data = path.read_bytes()
    try:
        tensors = safetensors.deserialize(data)
        (length,) = struct.unpack("<Q", data[:8])
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (safetensors.SafetensorError, ValueError) as error:
        raise InputError(f"{path} is damaged or truncated: {error}") from None
    arrays = {}
    for name, tensor in tensors:
        if tensor["dtype"] not in _DTYPES:
            raise InputError(f"{path}: {name} has type {tensor['dtype']} (allowed: {', '.join(_DTYPES)})")
        array = np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
        arrays[name] = as_float32(array)
    return StateDict(_without_prefix(arrays), metadata)


def _read_torch(path: Path) -> Any:
    """The object in a file that torch saved, with numpy arrays instead of tensors."""
    try:
        return torch_file.load(path)
    # For damaged files zipfile and pickle raise errors of many unrelated types.
    except Exception as error:
        message = str(error)
        if refused := re.search(r"GLOBAL ([\w.]+)", message):
            raise InputError(
                f"{path} needs {refused[1]}, which is refused because a weight file must not run code: save only "
                "tensors in containers, such as model.state_dict()"
            ) from None
        reason = textwrap.shorten(re.split(r"\.\s", message)[0], 160)
        raise InputError(
            f"{path} is damaged, truncated or not a torch file: {reason or type(error).__name__}"
        ) from None


def as_float32(array: np.ndarray) -> np.ndarray:
    """Converts a floating-point array to float32, with values out of range infinite; returns other arrays unchanged."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def _find_arrays(contents: Any, path: Path) -> dict[str, np.ndarray]:
    """Finds the state dict in the contents of a file: the contents themselves, or one of their entries."""
    if not isinstance(contents, Mapping):
        raise InputError(f"{path} contains a {type(contents).__name__}, not a state dict")
    for candidate in (contents, *(contents[key] for key in _NESTED if isinstance(contents.get(key), Mapping))):
        arrays = {str(name): as_float32(value) for name, value in candidate.items() if isinstance(value, np.ndarray)}
        if arrays and len(arrays) == len(candidate):
            return arrays
    there = ", ".join(map(str, list(contents)[:8])) or "nothing"
    raise InputError(
        f"{path} contains no state dict, at its top or under one of {', '.join(_NESTED)} (it contains: {there})"
    )


def _without_prefix(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays
