"""Atomic file writes, and JSON files."""

import contextlib
import errno
import json
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import InputError


@contextlib.contextmanager
def atomic_write(path: Path, *, remedy: str = "") -> Generator[Path, None, None]:
    """Yields a temporary path next to `path`, and moves it to `path` when the block ends.

    File and folder are synced to disk, so that a power failure leaves either the old file or the complete new one. If
    the block fails, the temporary file is removed.

    Args:
        path: the file to write.
        remedy: advice that the error message ends with.

    Raises:
        InputError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{path} cannot be written" + (f" ({reason}): {remedy}" if remedy else f": {reason}")
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)


def write_json(path: Path, values: Mapping[str, Any], *, remedy: str = "") -> None:
    """Writes a JSON file with `atomic_write`.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_write(path, remedy=remedy) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Raises:
        InputError: the file cannot be read, is not JSON, or is not an object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a JSON object")
    return values
