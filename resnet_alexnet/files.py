"""Atomic file writes, JSON files, and objects in a user's Python files, given as "path/to/file.py:NAME"."""

import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Generator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from resnet_alexnet.errors import InputError, nearest

_MOST_LEVELS = 100  # of a JSON file
_GUEST = re.compile(r"(?P<file>.*\.py)(:(?P<name>.*))?", re.DOTALL)


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
    temporary = temporary_path(path)
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


def temporary_path(path: Path) -> Path:
    """Returns the file that `atomic_write` writes to. A process that is killed while writing leaves it behind."""
    return path.with_name(f".{path.name}.tmp")


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


def user_cache() -> Path:
    """The folder for what can be made again, XDG_CACHE_HOME or ~/.cache; as "~/.cache" if there is no home folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


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
        InputError: the file cannot be read, is not JSON, which has no NaN and no Infinity, or is not an object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
        is_shallow = _is_shallow(values)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    except RecursionError:
        values, is_shallow = None, False
    if not is_shallow:
        raise InputError(f"{path} is not JSON that can be read: it has too many levels (allowed: {_MOST_LEVELS})")
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a JSON object")
    return values


def _is_shallow(values: Any) -> bool:
    """Whether functions may recurse into JSON values."""
    level = [values]
    for _ in range(_MOST_LEVELS + 1):
        groups = [value.values() if isinstance(value, dict) else value for value in level if _is_group(value)]
        level = [value for group in groups for value in group]
    return not level


def _is_group(value: Any) -> bool:
    return isinstance(value, dict | list)


def refuse_constant(name: str) -> NoReturn:
    """The parse_constant of a strict `json.loads`: refuses NaN and Infinity, which Python's json accepts."""
    raise ValueError(f"{name} is not a JSON number")


def is_guest(name: str) -> bool:
    """Whether a name refers to an object in a user's Python file, "path/to/file.py:NAME", not to one of ours."""
    return _GUEST.fullmatch(name) is not None


def absolute_guest(name: str) -> str:
    """Makes the path in a name absolute and expands ~, so that it works in any folder. Other names are unchanged."""
    match = _GUEST.fullmatch(name)
    if match is None:
        return name
    return os.path.abspath(os.path.expanduser(match["file"])) + name[match.end("file") :]


def load_guest(name: str, *, field: str) -> Any:
    """Returns the object that "path/to/file.py:NAME" refers to.

    The file runs once per process. It may import other files in its folder.

    Args:
        name: see `is_guest`; a relative path starts in the current folder.
        field: the config field with this name, for messages.

    Raises:
        InputError: the file does not exist, cannot be run, or does not define NAME.
    """
    match = _GUEST.fullmatch(absolute_guest(name))
    assert match is not None
    path, attribute = Path(match["file"]), match["name"]
    if not os.path.isfile(path):
        raise InputError(f"{field}={name}: there is no such file; correct the path")
    found = vars(_run_once(path))
    own = [key for key, value in found.items() if getattr(value, "__module__", None) == found["__name__"]]
    allowed = f"(it defines: {', '.join(own) or 'nothing'})"
    if not attribute:
        raise InputError(f"{field}={name}: give the name of an object in {path}, as FILE.py:NAME {allowed}")
    if attribute not in found:
        raise InputError(f"{field}={name}: {path} does not define {attribute!r}{nearest(attribute, own)} {allowed}")
    return found[attribute]


_guests: dict[Path, ModuleType] = {}


def guest_files() -> dict[str, Path]:
    """The users' files that this process has run, by the names of their modules; see `run_guests`."""
    return {module.__name__: path for path, module in _guests.items()}


def run_guests(files: Mapping[str, Path]) -> None:
    """Runs users' files in a worker process, so that objects of their modules can be unpickled there."""
    for name, path in files.items():
        if path not in _guests:
            _run_guest(path, name)


def _run_once(path: Path) -> ModuleType:
    if path not in _guests:
        name = path.stem
        _import_from_folder(path)
        found = importlib.util.find_spec(name) if name.isidentifier() and name not in sys.modules else None
        if found is None or found.origin != str(path):  # not a module's name, or the name of another module
            name = f"guest_{hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()}"
        _run_guest(path, name)
    return _guests[path]


def _run_guest(path: Path, name: str) -> None:
    _import_from_folder(path)
    _guests[path] = run_file(path, name, where=str(path))


def _import_from_folder(path: Path) -> None:
    """Lets a user's file import the other files in its folder."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))


def run_file(path: Path, name: str, *, where: str) -> ModuleType:
    """Runs a .py file as the module `name`, from its source.

    An import might take the bytecode of a version that is as long and was written in the same second.

    Raises:
        InputError: the code raised an error. The message starts with `where` and has the line number.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # true for every .py file
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module
    try:
        exec(compile(path.read_bytes(), path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:  # a file that exits is no reason to exit
        del sys.modules[name]
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {error_line(error, path)}") from error
    return module


def error_line(error: BaseException, path: Path) -> str:
    """Formats an error with its line in `path`, such as "line 7: NameError: name 'x' is not defined"."""

    def is_here(filename: str | None) -> bool:
        return filename is not None and os.path.abspath(filename) == os.path.abspath(path)

    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if is_here(frame.filename)]
    if isinstance(error, SyntaxError) and is_here(error.filename):
        numbers.append(error.lineno)
    place = f"line {numbers[-1]}: " if numbers else ""
    # Of an unknown field, ml_collections lists the whole config, and then the nearest name.
    message = re.sub(r" Other fields present: .*?(?=Did you mean|$)", " ", str(error).strip(), flags=re.DOTALL)
    return f"{place}{type(error).__name__}: {textwrap.shorten(message or 'no message', 300)}"
