"""Reads weight files of any origin, without running code from them."""

import json
import struct
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors

from resnet_alexnet.errors import InputError, printable
from resnet_alexnet.pretrained import inert, npz_file, torch_file

_DTYPES = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "BOOL": np.bool_},
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
}
_SAVE = "where it was made, save the state_dict() of the network instead"
_OTHERS = {  # first bytes of other files that are mistaken for weights
    b"<": "a web page, not weights: download the file again",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: run git lfs pull",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x89HDF": "an HDF5 file, as Keras writes them, which is not supported",
    b"\x08\x01": "a SavedModel of TensorFlow, which is not supported",
    b"\x08": f"an ONNX file, which is not supported: {_SAVE}",
    b"\x93NUMPY": f"one NumPy array, not a state dict: {npz_file.REMEDY}",
    b"GGUF": "a GGUF file, which is not supported",
    b"{": "a JSON file, not weights",
    **{bytes([first]): "a msgpack file, as Flax writes them, which is not supported" for first in range(0x81, 0x90)},
}
_ARCHIVES = {  # ends of names in zip archives of other kinds
    "model.weights.h5": "a Keras file, which is not supported",
    "serialized_exported_program.json": f"a program of torch.export, not weights: {_SAVE}",
    "/model.json": f"a program of torch.export, not weights: {_SAVE}",
    "/MAR-INF/MANIFEST.json": "a TorchServe archive: unpack it, and name the weight file in it",
    **dict.fromkeys((".pth", ".pt", ".safetensors", ".th"), "a zip archive with {inner} in it: unpack it first"),
}
_OF_OPTIMIZERS = {"param_groups", "hypers"}  # keys of the state of an optimizer of torch, and of fastai
_DEPTH = 4  # of containers in which state dicts are looked for
_MOST_ENTRIES = 100  # of a list
_MOST_UNREAD = 8  # tensors in a message
_LONGEST_NAME = 500  # letters of the name of an array


@dataclass(frozen=True)
class WeightFile:
    """The contents of a weight file.

    Attributes:
        state_dicts: its state dicts by the keys that lead to them, "" for the top: arrays by name, floating-point
            arrays as float32.
        metadata: the text metadata of a .safetensors file, else empty.
        unread: the tensors that are not read, by their keys and name: why not.
    """

    state_dicts: Mapping[str, dict[str, np.ndarray]]
    metadata: Mapping[str, str]
    unread: Mapping[str, str] = field(default_factory=dict)

    def describe_unread(self) -> str:
        """Returns what to say about the tensors that are not read; an empty string if there are none."""
        first = [f"{printable(name)} ({why})" for name, why in list(self.unread.items())[:_MOST_UNREAD]]
        more = f" and {len(self.unread) - len(first)} more" if len(self.unread) > len(first) else ""
        return f"tensors of kinds that are not read: {', '.join(first)}{more}" if first else ""


def read(path: Path) -> WeightFile:
    """Reads a .safetensors file, or a file that torch saved with state dicts or a whole module in it.

    The format is found by content, not by suffix. What a file of torch holds besides is ignored, and never run.

    Raises:
        InputError: the file cannot be read, is damaged, has another format, or holds no state dict.
    """
    try:
        with open(path, "rb") as file:
            beginning = file.read(torch_file.TAR_AT + len(torch_file.TAR))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not beginning:
        raise InputError(f"{path} is empty")
    if beginning[8:9] == b"{":
        return _read_safetensors(path)
    if beginning.startswith(torch_file.ZIP) and (arrays := _read_archive(path)):
        return WeightFile({"": arrays}, {})
    if beginning.startswith((torch_file.ZIP, *torch_file.PICKLES)) or beginning[torch_file.TAR_AT :] == torch_file.TAR:
        contents = _read_torch(path)
        unread: dict[str, str] = {}
        file = WeightFile(dict(_find_state_dicts(contents, unread)), {}, unread)
        if not file.state_dicts:
            why = f"; {file.describe_unread()}" if unread else ""
            raise InputError(f"{path} contains no state dict{_told(contents)}{why}")
        return file
    kinds = (kind for start, kind in _OTHERS.items() if beginning.lstrip().startswith(start))
    kind = next(kinds, f"neither a .safetensors file nor a torch file: it begins with {beginning[:8]!r}")
    raise InputError(f"{path} is {kind}")


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a zip archive that NumPy wrote; none of one that torch wrote, or of a damaged one.

    Raises:
        InputError: the archive is of another kind, or `npz_file.read_npz` raises it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return {}
    if npz_file.is_npz(names):
        return {name: as_float32(array) for name, array in npz_file.read_npz(path).items() if array.size}
    for ending, kind in _ARCHIVES.items():
        if inner := next((name for name in names if name.endswith(ending)), None):
            raise InputError(f"{path} is {kind.format(inner=printable(inner))}")
    return {}


def _read_safetensors(path: Path) -> WeightFile:
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
        if array.size:
            arrays[name] = as_float32(array)
    return WeightFile({"": arrays}, metadata)


def _read_torch(path: Path) -> Any:
    """The object in a file that torch saved, with numpy arrays instead of tensors."""
    try:
        return torch_file.load(path)
    except InputError as error:
        raise InputError(f"{path} is {error}") from None
    # For damaged files zipfile, tarfile and pickle raise errors of many unrelated types.
    except Exception as error:
        reason = textwrap.shorten(str(error).partition(". ")[0], 160)
        raise InputError(
            f"{path} is damaged, truncated or not a torch file: {reason or type(error).__name__}"
        ) from None


def as_float32(array: np.ndarray) -> np.ndarray:
    """Converts a floating-point array to float32, with values out of range infinite; returns other arrays unchanged."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def _find_state_dicts(
    contents: Any, unread: dict[str, str], keys: tuple[str, ...] = (), seen: dict[int, Any] | None = None
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The state dicts in the contents of a file, with the keys that lead to them: those that have a matrix or more.

    `unread` gets the tensors that are not read; see `WeightFile`.
    """
    seen = {} if seen is None else seen
    if id(contents) in seen:  # a container that is there twice, or that contains itself
        return
    seen[id(contents)] = contents
    if isinstance(contents, inert.Inert):
        contents = {**contents.items, **_attributes(contents), **dict(_module_arrays(contents))}
    if isinstance(contents, list | tuple):
        contents = {str(i): entry for i, entry in enumerate(contents[:_MOST_ENTRIES])}
    if not isinstance(contents, Mapping) or _OF_OPTIMIZERS & contents.keys():
        return
    entries = {str(key): value for key, value in contents.items() if isinstance(key, str | int | float)}
    wrapped = {key: value.array for key, value in entries.items() if isinstance(value, inert.Wrapped)}
    entries |= {key: array for key, array in wrapped.items() if isinstance(array, np.ndarray)}
    arrays = {
        name: as_float32(value)
        for name, value in entries.items()
        if isinstance(value, np.ndarray) and value.size and len(name) <= _LONGEST_NAME
    }
    reasons = {name: inert.why_unread(value) for name, value in entries.items() if len(name) <= _LONGEST_NAME}
    unread |= {".".join((*keys, name)): why for name, why in reasons.items() if why}
    if any(array.ndim >= 2 for array in arrays.values()):
        yield ".".join(keys), arrays
    if len(keys) < _DEPTH:
        for key, value in entries.items():
            if not isinstance(value, np.ndarray):
                yield from _find_state_dicts(value, unread, (*keys, key), seen)


def _attributes(saved: inert.Inert) -> Mapping[Any, Any]:
    """The attributes of an object, such as the model of a fastai Learner; none of a module of torch."""
    return saved.state if isinstance(saved.state, Mapping) and "_modules" not in saved.state else {}


def _module_arrays(module: inert.Inert) -> Iterator[tuple[str, Any]]:
    """The arrays of a module of torch that was saved whole, by the names that its state_dict() gives them.

    The tensors that are not read come too.
    """
    left, seen = [("", module)], {}
    while left:
        prefix, of = left.pop()
        if id(of) in seen or len(prefix) > _LONGEST_NAME:
            continue
        seen[id(of)] = of
        state = of.state if isinstance(of, inert.Inert) and isinstance(of.state, Mapping) else {}
        for kind in ("_parameters", "_buffers"):
            named = state.get(kind)
            for name, value in named.items() if isinstance(named, Mapping) else ():
                value = value.array if isinstance(value, inert.Wrapped) else value
                if isinstance(value, np.ndarray) or inert.why_unread(value):
                    yield f"{prefix}{name}", value
        modules = state.get("_modules")
        left += [(f"{prefix}{name}.", m) for name, m in modules.items()] if isinstance(modules, Mapping) else []


def _told(contents: Any) -> str:
    """What a file contains instead of a state dict."""
    if isinstance(contents, Mapping):
        keys = (key[:40] if isinstance(key, str) else f"a {type(key).__name__}" for key in list(contents)[:8])
        return f" (it contains: {', '.join(keys) or 'nothing'})"
    if isinstance(contents, inert.Inert):
        is_fastai = contents.kind.startswith("fastai.")
        save = "where it was made, save the weights with learn.save(NAME) instead" if is_fastai else _SAVE
        return f": it is a pickled {printable(contents.kind[:80])}; {save}"
    return f" (it contains: a {type(contents).__name__})"
