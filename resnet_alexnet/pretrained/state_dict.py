"""Reads files of weights, whoever wrote them, and runs nothing that is in them."""

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
)  # where training scripts keep the weights in what they save
_OTHERS = {  # what people save under the name of weights
    b"<": "a web page: the download went wrong",
    b"version https://git-lfs": "a pointer of Git LFS, not the file it points to",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x89HDF": "in HDF5, which is not read",
}


@dataclass(frozen=True)
class StateDict:
    """What a file of weights holds: arrays by name, floating-point ones as float32, and the text beside them."""

    arrays: dict[str, np.ndarray]
    metadata: Mapping[str, str]


def read(path: Path) -> StateDict:
    """Reads a .safetensors file, or what torch saved, a state dict or a dict with one in it; by content, not by suffix.

    The prefix "module." that torch's data parallelism puts before every name is taken off.

    Raises:
        InputError: it cannot be read, is damaged, is something else, or wants something called when it is read.
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
    kind = next(kinds, f"neither a .safetensors file nor one of torch's: it begins with {beginning[:8]!r}")
    raise InputError(f"{path} is {kind}")


def _read_safetensors(path: Path) -> StateDict:
    data = path.read_bytes()
    try:
        tensors = safetensors.deserialize(data)
        (length,) = struct.unpack("<Q", data[:8])
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (safetensors.SafetensorError, ValueError) as error:
        raise InputError(f"{path} is damaged or cut short: {error}") from None
    arrays = {}
    for name, tensor in tensors:
        if tensor["dtype"] not in _DTYPES:
            raise InputError(f"{path}: {name} is of type {tensor['dtype']} (read are: {', '.join(_DTYPES)})")
        array = np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
        arrays[name] = as_float32(array)
    return StateDict(_without_prefix(arrays), metadata)


def _read_torch(path: Path) -> Any:
    """What torch saved, with arrays for tensors."""
    try:
        return torch_file.load(path)
    # What zipfile and pickle raise for damaged files are errors of many unrelated types.
    except Exception as error:
        message = str(error)
        if refused := re.search(r"GLOBAL ([\w.]+)", message):
            raise InputError(
                f"{path} wants {refused[1]} to be called, which is refused: weights are tensors in containers, as "
                "model.state_dict() gives them"
            ) from None
        reason = textwrap.shorten(re.split(r"\.\s", message)[0], 160)
        raise InputError(f"{path} is damaged, cut short, or not torch's: {reason or type(error).__name__}") from None


def as_float32(array: np.ndarray) -> np.ndarray:
    """A floating-point array of any width as float32, in which what is too large is infinite; others as they are."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def _find_arrays(contents: Any, path: Path) -> dict[str, np.ndarray]:
    """The state dict that a file's contents are, or the one that they hold."""
    if not isinstance(contents, Mapping):
        raise InputError(f"{path} holds a {type(contents).__name__}, not a state dict")
    for candidate in (contents, *(contents[key] for key in _NESTED if isinstance(contents.get(key), Mapping))):
        arrays = {str(name): as_float32(value) for name, value in candidate.items() if isinstance(value, np.ndarray)}
        if arrays and len(arrays) == len(candidate):
            return arrays
    there = ", ".join(map(str, list(contents)[:8])) or "nothing"
    raise InputError(f"{path} holds no state dict, by itself or as one of {', '.join(_NESTED)} (it has: {there})")


def _without_prefix(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays
