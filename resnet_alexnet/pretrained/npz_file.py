"""Reads weights that NumPy saved: a .npz file of arrays by name. Pickled objects in it are never loaded."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnet_alexnet.errors import InputError

REMEDY = "save each array by its name, as with numpy.savez(FILE, **state_dict)"
_ARRAY = ".npy"  # what follows the name of an array in the archive
_MOST_COMPRESSED = 100  # times; weights hardly compress, so more is a zip bomb
_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError, NotImplementedError)


def is_npz(names: Sequence[str]) -> bool:
    """Whether a zip archive with these names is a .npz file."""
    return bool(names) and all(name.endswith(_ARRAY) for name in names)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays by name.

    Raises:
        InputError: the file is damaged, or holds an array of objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_COMPRESSED * path.stat().st_size:
            raise InputError(f"{path} would take {size:,} bytes of memory, far more than weights")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except InputError:
        raise
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise InputError(f"{path} holds Python objects, which are not loaded: {REMEDY}") from None
        raise InputError(f"{path} is damaged or truncated: {error}") from None
