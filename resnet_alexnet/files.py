"""Files that appear whole or not at all."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from resnet_alexnet.errors import InputError


@contextlib.contextmanager
def written_whole(path: Path) -> Generator[Path, None, None]:
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
