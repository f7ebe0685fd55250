"""A lock on a folder that several processes must not write to at the same time."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json, write_json

LOCK_FILE, OWNER_FILE = "lock", "owner.json"


@contextlib.contextmanager
def locked(folder: Path, *, what: str) -> Iterator[None]:
    """Holds the lock of a folder that exists. The lock goes with the process, however that ends; its files stay.

    On a network file system it holds between hosts only if that supports flock.

    Args:
        folder: where the files are written.
        what: what the folder belongs to, such as "sweep", for the message.

    Raises:
        InputError: another process holds it; the message names host and process.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(
            f"--workdir={folder} is in use by a {what} on {_owner(folder)}: wait, stop it, or use another workdir"
        ) from None
    try:
        write_json(folder / OWNER_FILE, {"host": socket.gethostname(), "pid": os.getpid()})
        yield
    finally:
        lock.release()


def _owner(folder: Path) -> str:
    try:
        owner = read_json(folder / OWNER_FILE)
    except InputError:  # it has the lock and has not written its name yet
        return "some host"
    return f"host {owner.get('host')}, process {owner.get('pid')}"
