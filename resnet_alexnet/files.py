"""Files that appear whole or not at all."""

import contextlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import InputError


@contextlib.contextmanager
def atomic_write(path: Path) -> Generator[Path, None, None]:
    """A file beside `path` to write to, which takes its place when the block ends, and is removed where it fails.

    Raises:
        InputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a JSON file whole or not at all; InputError where it cannot be written."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: it is not JSON, or not an object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a JSON object")
    return values
