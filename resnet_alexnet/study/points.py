"""Sweep files: the points that sweep() yields, each checked against the config of the recipe that the file names."""

import contextlib
import functools
import hashlib
import inspect
import io
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import error_line, run_file
from resnet_alexnet.workdir import recipes
from resnet_alexnet.workdir.config import flatten, load_config, load_overridden, to_json

SEED = "seed"  # the field over which means are taken
_TEST = "eval.test"
_UNTESTED = f"--config.{_TEST}=never"
_NO_TEST = "no point is tested; --test_winner tests the best setting"
_LONGEST_NAME = 100  # characters, of at most 255 that file systems allow
_UNSAFE = re.compile(r"[^A-Za-z0-9._=,+-]+")  # brackets are unsafe too: Orbax cannot read below them


@dataclass(frozen=True)
class Point:
    """A run of a sweep.

    Attributes:
        name: of its run folder: its overrides, without the fields that are the same in all points.
        fields: what sweep() yielded.
        words: the flags of `resnet_alexnet.main` that give its config.
        config: its config, a ConfigDict.
        digest: equal for equal configs; see `config_digest`.
    """

    name: str
    fields: Mapping[str, Any]
    words: tuple[str, ...]
    config: Any
    digest: str

    @property
    def setting(self) -> tuple[tuple[str, Any], ...]:
        """Its fields without the seed: runs of one setting are repetitions."""
        return tuple((field, value) for field, value in self.fields.items() if field != SEED)

    @property
    def depends_on_num_steps(self) -> bool:
        """Whether the first steps of a longer run are not those of a shorter one: by its learning rate."""
        return self.config.schedule.name == "cosine"


@dataclass(frozen=True)
class Sweep:
    """The points of a sweep file, in its order.

    Attributes:
        name: of the file, without its suffix.
        base: the recipe.
        points: at least one.
        varied: the fields that differ between points, in the order in which sweep() names them.
    """

    name: str
    base: str
    points: tuple[Point, ...]
    varied: tuple[str, ...]


def config_digest(values: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that two configs share only if they are equal, except for eval.test.

    It is of the fields that differ from their defaults, so that it stays the same where a version adds a field.

    Args:
        values: a config as JSON values. Code and data that it names by path are not looked at.
    """
    defaults = _defaults()
    flat = {field: value for field, value in flatten(dict(values)).items() if defaults.get(field, ...) != value}
    flat.pop("eval.test", None)  # changes no other result of a run
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:12]


@functools.cache
def _defaults() -> dict[str, Any]:
    return flatten(to_json(load_config("default")))


def sweep_names() -> list[str]:
    """The names of our sweeps."""
    return sorted(path.stem for path in (recipes.FOLDER / "sweeps").glob("*.py"))


def find_sweep(name: str) -> Path:
    """The file that --sweep names: one of ours by its name, or a path.

    Raises:
        InputError: there is none.
    """
    file = Path(os.path.expanduser(name))
    if re.fullmatch(r"\w+", name) or (str(file.parent) == "configs/sweeps" and not os.path.exists(file)):
        file = recipes.FOLDER / "sweeps" / f"{file.stem}.py"
    if not os.path.isfile(file):
        raise InputError(
            f"--sweep={name}: no such file (allowed: {', '.join(sweep_names())}, or the path of a .py file)"
        )
    if file.suffix != ".py":
        raise InputError(f"--sweep={name}: a sweep is a Python file that defines sweep()")
    return file


def read_sweep(name: str, *, base: str | None = None, overrides: Sequence[str] = ()) -> Sweep:
    """Reads a sweep file and checks every point: its fields exist, and its values have their types.

    The file defines sweep(), which yields the points: dicts from fields to values, such as {"optim.learning_rate": 0.1,
    "seed": 3}. BASE is the recipe, such as "quickstart"; COMMON, a dict, holds fields of all points.

    Args:
        name: see `find_sweep`.
        base: a recipe instead of BASE.
        overrides: words such as "--config.num_steps=70", for all points, over COMMON.

    Raises:
        InputError: the file cannot be read or run, it has no points, a field or value is wrong, or two points are the
            same.
    """
    file, where = find_sweep(name).absolute(), f"--sweep={name}"
    module = _run_sweep_file(file, where)
    if base:
        load_quietly(base, [])  # whose errors name --config
    else:
        base = _read_base(module, where)
    common = _with_tuples(getattr(module, "COMMON", {}))
    yielded = list(_yielded(module, file, where))
    if not yielded:
        raise InputError(f"{where}: sweep() yields no points")
    for number, fields in enumerate([common, *yielded]):
        what = f"point {number} of sweep()" if number else "COMMON"
        if not isinstance(fields, dict) or not all(isinstance(field, str) for field in fields):
            raise InputError(f"{where}: {what} is {fields!r} (allowed: a dict such as {{'optim.learning_rate': 0.1}})")
    _check_set_once(yielded, common, overrides, where)
    common_words = [field_word(field, value, where) for field, value in common.items()]
    points = tuple(
        _create_point(name, fields, base, common_words, overrides, where)
        for name, fields in zip(_names(yielded), yielded, strict=True)
    )
    _check_distinct(points, where)
    return Sweep(file.stem, base, points, tuple(_varied(yielded)))


def _run_sweep_file(file: Path, where: str) -> ModuleType:
    try:
        with recipes.importable_as_configs(file.resolve().parent):
            return run_file(file, f"sweep_{file.stem}", where=where)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{where} is no text in UTF-8") from None


def _yielded(module: ModuleType, file: Path, where: str) -> Iterator[Any]:
    function = getattr(module, "sweep", None)
    if not inspect.isfunction(function):
        raise InputError(f"{where} defines no function sweep()")
    if inspect.signature(function).parameters:
        raise InputError(f"{where}: sweep() takes no arguments")
    try:
        points = function()
        if not isinstance(points, Iterable):
            raise InputError(f"sweep() returns {points!r}: it is to yield the points")
        for fields in points:
            yield _with_tuples(fields)  # sweep() may change the dict and yield it again
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}: {error_line(error, file)}") from None


def _with_tuples(fields: Any) -> Any:
    """A copy, in which lists are tuples, as in configs; anything but a dict as it is."""
    if not isinstance(fields, dict):
        return fields
    return {field: tuple(value) if isinstance(value, list) else value for field, value in fields.items()}


def _read_base(module: ModuleType, where: str) -> str:
    """The recipe that a sweep file names.

    Raises:
        InputError: it names none, or one that does not exist or is wrong without any field of a point.
    """
    base = getattr(module, "BASE", None)
    if not isinstance(base, str):
        raise InputError(f"{where} does not say which recipe it varies: define BASE, such as BASE = 'quickstart'")
    if error := _error(base, []):
        raise InputError(f"{where}, its recipe {base!r}: {error}")
    return base


def load_quietly(base: str, words: Sequence[str]) -> Any:
    """The config of a recipe and flags, as `resnet_alexnet.main` builds it; its notes are in the log of the run."""
    with contextlib.redirect_stderr(io.StringIO()):
        return load_overridden(base, words)


def _error(base: str, words: Sequence[str]) -> str:
    """What is wrong with flags for a recipe; empty if nothing is."""
    try:
        load_quietly(base, words)
    except InputError as error:
        return str(error)
    return ""


def _check_set_once(
    yielded: Sequence[Mapping[str, Any]], common: Mapping[str, Any], overrides: Sequence[str], where: str
) -> None:
    """Raises InputError if a flag sets a field that the points set, or one of them asks for the test split."""
    for word in overrides:
        field = word.removeprefix("--config.").partition("=")[0]
        if field == _TEST:
            raise InputError(f"{word}: {_NO_TEST}")
        if any(field in fields for fields in yielded):
            raise InputError(f"{word}: the points of {where} set {field} themselves")
    if any(_TEST in fields for fields in (common, *yielded)):
        raise InputError(f"{where} sets {_TEST}: {_NO_TEST}")


def _create_point(
    name: str, fields: Mapping[str, Any], base: str, common: Sequence[str], overrides: Sequence[str], where: str
) -> Point:
    """Builds the config of a point; `common` are the flags of COMMON."""
    own = [field_word(field, value, where) for field, value in fields.items()]
    words = [*common, *overrides, _UNTESTED, *own]
    place = f"{where}, point {name}" if fields else where
    try:
        config = load_quietly(base, words)
    except InputError:
        if not (error := _error(base, [*common, *own])):
            raise  # without the flags nothing is wrong
        raise InputError(f"{f'{where}, COMMON' if _error(base, common) == error else place}: {error}") from None
    built = flatten(config.to_dict())
    for field, value in fields.items():
        if isinstance(value, str) and isinstance(built[field], str):
            continue  # a path may have been made absolute
        if built[field] != value:
            raise InputError(f"{place}: {field} is {value!r}, of type {type(value).__name__}, not {built[field]!r}'s")
    return Point(name, fields, (f"--config={base}", *words), config, config_digest(to_json(config)))


def field_word(field: str, value: Any, where: str) -> str:
    """The flag that sets a field."""
    if value is None:
        raise InputError(f"{where}: {field} is None, which no flag can set: leave the field out")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {field} is {value} (allowed: a finite number)")
    return f"--config.{field}={shown(value)}"


def _varied(yielded: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields that differ between points; all fields if there is one point only."""
    fields = dict.fromkeys(field for point in yielded for field in point)
    first = yielded[0]
    return [
        field
        for field in fields
        if len(yielded) == 1 or any(point.get(field, ...) != first.get(field, ...) for point in yielded)
    ]


def _names(yielded: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of points, such as "learning_rate=0.1,batch_size=64": short names of fields, if they differ."""
    varied = _varied(yielded)
    short = short_names(varied)
    return [_name({short[field]: point[field] for field in varied if field in point}) for point in yielded]


def short_names(fields: Sequence[str]) -> dict[str, str]:
    """What fields are called together: by their short names, if they differ."""
    counts = Counter(map(short_name, fields))
    return {field: name if counts[name := short_name(field)] == 1 else field for field in fields}


def short_name(field: str) -> str:
    """What a field is called where it is clear which is meant: optim.momentum is momentum, model.name is model."""
    group, _, last = field.rpartition(".")
    return group if group and last == "name" else last


def _name(values: Mapping[str, Any]) -> str:
    """A safe name. Where something is replaced or cut off, eight digits of a hash tell it from others."""
    text = ",".join(f"{field}={shown(value)}" for field, value in values.items()) or "base"
    safe = _UNSAFE.sub("-", text)
    if safe == text and len(text) <= _LONGEST_NAME:
        return text
    return f"{safe[:_LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def shown(value: Any) -> str:
    """A value of a field as a flag sets it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_distinct(points: Sequence[Point], where: str) -> None:
    """Raises InputError if two points have the same name or the same config."""
    numbers: dict[str, int] = {}
    by_digest: dict[str, Point] = {}
    for number, point in enumerate(points, start=1):
        if point.name in numbers:
            raise InputError(
                f"{where}: the points {numbers[point.name]} and {number} of sweep() are equal, {dict(point.fields)}: "
                "leave one of them out"
            )
        if point.digest in by_digest:
            other = by_digest[point.digest].name
            raise InputError(f"{where}: the points {other} and {point.name} are the same run: leave one of them out")
        numbers[point.name], by_digest[point.digest] = number, point


def python_command(module: str, words: Sequence[str]) -> list[str]:
    """The command that runs a module of the package with this Python, in any folder."""
    return [sys.executable, "-m", f"resnet_alexnet.{module}", *words]
