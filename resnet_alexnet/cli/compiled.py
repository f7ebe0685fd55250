"""Keeps compiled programs on disk: a process that needs the program of an earlier one loads it instead of compiling it.

jax does this, in a folder that it takes for trusted: loading a program runs what is in the file. Here is where that
folder is, that nobody else can write to it, and how much it may hold.
"""

import contextlib
import errno
import os
import stat
import sys
import warnings
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import printable
from resnet_alexnet.files import user_cache

_MOST_BYTES = 2**29
_MOST_PROGRAMS = 500  # jax looks at every file of the folder whenever it adds one: of 2,000 programs for 0.1 s
_SECONDS_TO_WAIT = 10.0  # for another process to let go of the folder, as jax waits


class _UnusableError(Exception):
    """The folder must not or cannot be used. The message is a clause."""


def keep(wanted: bool) -> None:
    """From here on loads programs from the user's cache folder, and keeps what is compiled there; False: does not.

    Call it before anything is compiled. It is for one process alone: where several compile a program together, as jax's
    do on GPUs to divide the trials of kernels among them, one that finds it in its own folder would leave the others
    waiting. If the folder cannot be used, a note says why. What the environment says about jax's cache is left as it
    is: with JAX_COMPILATION_CACHE_DIR another folder is used, which its owner answers for.
    """
    import jax

    config: Any = jax.config
    if not wanted:
        config.update("jax_enable_compilation_cache", False)
    elif config.jax_enable_compilation_cache and not config.jax_compilation_cache_dir:
        try:
            folder = _open_folder()
        except _UnusableError as reason:
            advice = "set JAX_COMPILATION_CACHE_DIR to another folder, or give --compile_cache=false"
            print(f"note: compiled programs are not kept: {printable(str(reason))} ({advice})", file=sys.stderr)
            return
        settings = {
            "jax_compilation_cache_dir": str(folder),
            "jax_compilation_cache_max_size": _MOST_BYTES,
            "jax_persistent_cache_min_compile_time_secs": 0.0,  # small networks have many small programs
            # XLA's own caches are part of no bound, and a folder that is full would be an error.
            "jax_persistent_cache_enable_xla_caches": "",
        }
        for name, value in settings.items():
            if name.upper() not in os.environ:
                config.update(name, value)
        # Of a folder that cannot be read or written any more: the programs are compiled, which takes time and no more.
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def _open_folder() -> Path:
    """The folder, which is made if need be; without what is left of killed processes, and not too full.

    Raises:
        _UnusableError: it cannot be written, or others can write to it.
    """
    import filelock

    folder = user_cache() / "resnet_alexnet" / "compiled"
    if not folder.is_absolute():
        raise _UnusableError(f"there is no home folder for {folder}")
    folder = Path(os.path.realpath(folder))  # jax's names of programs depend on how the folder is written
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with filelock.FileLock(folder / ".lockfile", timeout=_SECONDS_TO_WAIT):  # which jax's processes hold to write
            _tidy(folder)
    except (OSError, NotImplementedError) as error:  # the latter where a file system has no locks
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _UnusableError(f"{folder} cannot be written: {reason}") from None
    return folder


def _check_private(folder: Path) -> None:
    """Raises _UnusableError if somebody else can write to the folder, or can put another in its place."""
    info = os.stat(folder)
    if info.st_uid != os.geteuid():
        raise _UnusableError(f"{folder} belongs to another user")
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _UnusableError(f"others can write to {folder}: remove it")
    for parent in folder.parents:
        mode = os.stat(parent).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise _UnusableError(f"others can replace {folder}, because anybody can write to {parent}")


def _tidy(folder: Path) -> None:
    """Removes half-written programs, and of too many those that were not used for longest.

    jax writes a program and then a file with the time of its last use. Without the second the first may be incomplete,
    and some versions of jax then write no more programs.
    """
    names = os.listdir(folder)
    programs, times = (
        {name.removesuffix(suffix) for name in names if name.endswith(suffix)} for suffix in ("-cache", "-atime")
    )
    removed = programs ^ times
    if len(whole := programs & times) > _MOST_PROGRAMS:
        used = sorted(whole, key=lambda name: os.stat(folder / f"{name}-atime").st_mtime_ns)
        removed |= {*used[: -_MOST_PROGRAMS * 3 // 4]}
    for name in removed:
        for suffix in ("-cache", "-atime"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder / f"{name}{suffix}")
