"""The lock of a run folder: one process at a time trains in it.

The lock is the system's own (flock) on WORKDIR/lock, which a process holds as long as it has that file open. So the
system frees it when the process ends, even by kill -9. A second file, WORKDIR/lock.json, names the process that holds
it. Both are removed when the run ends; after a kill they stay, and mean nothing to the next run.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from resnet_alexnet.errors import InputError, printable
from resnet_alexnet.files import temporary_path, write_json
from resnet_alexnet.workdir.config import CONFIG_FILE, LOG_FILE

LOCK_FILE, HOLDER_FILE = "lock", "lock.json"
SEEN_FILE = ".seen-by-all"  # by which several processes see whether they share the folder
# What the start of a run leaves in a folder. In this order it is removed: the lock last, while it is held.
NAMES = (SEEN_FILE, temporary_path(Path(HOLDER_FILE)).name, HOLDER_FILE, LOCK_FILE)
_SECONDS = 0.2  # to wait for the lock: `find_holder` takes it for a moment


@dataclass(frozen=True)
class Holder:
    """The process that trains in a run folder.

    Attributes:
        host: the name of its host; empty if it is not known.
        pid: its process id there.
        since: when it took the lock, in local time, such as "2025-01-31 17:05:00".
    """

    host: str = ""
    pid: int = 0
    since: str = ""

    def __str__(self) -> str:
        if not self.host:
            return "another process"
        return f"process {self.pid} on {printable(self.host)}, since {printable(self.since)}"


@contextlib.contextmanager
def locked(workdir: Path, *, mark: str = CONFIG_FILE) -> Iterator[None]:
    """Holds the lock of a run folder, or of the folder of a sweep, during the block.

    A folder that is new and in which the block leaves nothing is removed again. A folder that cannot be written, or
    that is not a run's, is not locked: no run starts in it. On a file system without locks, a notice says so.

    Args:
        workdir: the run folder; it need not exist.
        mark: the file that a folder has if it is one to lock.

    Raises:
        InputError: another process holds it. The message names its host and process id, and since when.
    """
    if not _may_hold(mark, workdir):
        yield
        return
    created = _create(workdir)
    try:
        with _take(workdir):
            yield
    finally:
        for folder in created:
            with contextlib.suppress(OSError):  # there is something in it
                folder.rmdir()


def find_holder(workdir: Path) -> Holder | None:
    """The process that trains in a run folder at this moment; None if there is none."""
    try:
        with (workdir / LOCK_FILE).open("rb") as file:
            return None if _lock(file, fcntl.LOCK_SH) else _read_holder(workdir)
    except OSError:  # no run has been there, or the file system has no locks
        return None


def _may_hold(mark: str, workdir: Path) -> bool:
    """Whether a path is new, an empty folder or one with the file `mark`: in others, a file "lock" is not ours."""
    try:
        names = set(os.listdir(workdir))
    except OSError:
        return not os.path.lexists(workdir)
    return mark in names or names <= {*NAMES, LOG_FILE, temporary_path(workdir / mark).name}


def _create(workdir: Path) -> list[Path]:
    """Creates the folder. Returns what had to be created, the innermost first."""
    missing = [path for path in (workdir, *workdir.parents) if not os.path.lexists(path)]
    with contextlib.suppress(OSError):  # `check_workdir` and `create_workdir` say what is wrong
        workdir.mkdir(parents=True, exist_ok=True)
    return missing


@contextlib.contextmanager
def _take(workdir: Path) -> Iterator[None]:
    """Holds the lock during the block, if there can be one."""
    file = None
    try:
        file = _open_locked(workdir / LOCK_FILE)
    except BlockingIOError:
        raise InputError(
            f"--workdir={workdir} is in use by {_read_holder(workdir)} (wait for it, stop it, or use another --workdir)"
        ) from None
    except OSError as error:
        print(f"notice: {workdir} cannot be locked ({error.strerror}): start no second run in it", file=sys.stderr)
    if file is None:
        yield
        return
    with file:
        try:
            _write_holder(workdir)
            yield
        finally:
            for name in NAMES:
                with contextlib.suppress(OSError):
                    (workdir / name).unlink()


def _open_locked(path: Path) -> BinaryIO | None:
    """Opens and locks the lock file; None if it cannot be opened: the run itself says what is wrong with its folder.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the file system has no locks.
    """
    end = time.monotonic() + _SECONDS
    while True:
        try:
            file = path.open("ab")
        except OSError:
            return None
        with contextlib.ExitStack() as stack:
            stack.enter_context(file)
            if _lock(file, fcntl.LOCK_EX) and os.fstat(file.fileno()).st_nlink:  # 0: whoever held it has removed it
                stack.pop_all()
                return file
        if time.monotonic() > end:
            raise BlockingIOError
        time.sleep(_SECONDS / 10)


def _lock(file: BinaryIO, kind: int) -> bool:
    """Locks an open file unless another process has; returns whether it did.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # some file systems say the latter
        return False
    return True


def _write_holder(workdir: Path) -> None:
    now = datetime.now().isoformat(sep=" ", timespec="seconds")
    with contextlib.suppress(InputError):  # the disk is full: the lock holds, and the run will say it
        write_json(workdir / HOLDER_FILE, {"host": socket.gethostname(), "pid": os.getpid(), "since": now})


def _read_holder(workdir: Path) -> Holder:
    try:
        values = json.loads((workdir / HOLDER_FILE).read_text(encoding="utf-8"))
        return Holder(str(values["host"]), int(values["pid"]), str(values["since"]))
    except (OSError, ValueError, KeyError, TypeError):  # it takes the lock at this moment
        return Holder()
