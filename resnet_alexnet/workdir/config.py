"""Recipes: the config that a file or a run folder holds, and the fields that a command line sets."""

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import placeholder

from resnet_alexnet.errors import InputError, nearest
from resnet_alexnet.files import absolute_guest, error_line, is_guest, read_json, run_file
from resnet_alexnet.workdir import recipes
from resnet_alexnet.workdir.fields import read_groups

CONFIG_FILE = "config.json"  # of a run folder
LOG_FILE = "log.txt"  # what a run of a sweep prints; the sweep opens it before the run starts
_OF_EVERY_MODEL = ("name", "num_logits")  # the fields of the group `model` that are not options
_PATHS = ("dataset.data_dir", "finetune.weights")  # fields in which ~ is the home folder
_NAMED_BY_PATH = ("image_folder", "npz")  # sets that can hold anything: their path says what
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a tuple such as (10,20)"}


def load_overridden(path: str, overrides: Sequence[str]) -> ConfigDict:
    """The config at `path`, see `load_config`, with `overrides` such as "--config.batch_size=64"; locked.

    The options that a recipe sets are those of its own model: where the words name another one, those that it lacks are
    unset. The sizes of photographs that it sets are those of its image size: for another one they are scaled. A line on
    standard error says so. A user's own network or data set gets an absolute path.

    Raises:
        InputError: something is wrong with the config or an override.
    """
    config = load_config(path)
    recipe = config.to_dict()
    override(config, overrides)
    given = {word.partition("=")[0] for word in overrides}
    for group in ("model", "dataset"):
        if "name" in config.get(group, {}):
            config[group].name = absolute_guest(config[group].name)
    for group, field in (name.split(".") for name in _PATHS):
        if str(config.get(group, {}).get(field, "")).startswith("~"):
            config[group][field] = os.path.expanduser(config[group][field])
    if config.get("preprocess", {}).get("image_size") and recipe["preprocess"]["image_size"]:
        _scale_sizes(config, recipe, given)
    if "model" in recipe and config.model.name != recipe["model"]["name"]:
        _unset_options(config.model, recipe["model"], given)
    return config


def _scale_sizes(config: ConfigDict, recipe: dict[str, Any], given: set[str]) -> None:
    """Scales the sizes of photographs that a recipe sets to another image size, but for those given as flags; says so.

    So a network is tested as it was trained if --config.preprocess.image_size is the only flag.
    """
    before, now = recipe["preprocess"]["image_size"], config.preprocess.image_size
    for group, name in (("preprocess", "shorter_side"), ("augment", "scale")):
        value = recipe[group].get(name)
        if before == now or value is None or f"--config.{group}.{name}" in given:
            continue
        sides = [round(side * now / before) for side in (value if isinstance(value, tuple) else [value])]
        config[group][name] = tuple(sides) if isinstance(value, tuple) else sides[0]
        print(
            f"note: {group}.{name}={value}, which the recipe sets for images of {before} pixels, becomes "
            f"{config[group][name]} for {now}",
            file=sys.stderr,
        )


def _unset_options(model: ConfigDict, recipe: dict[str, Any], given: set[str]) -> None:
    """Unsets the options of a recipe's model that another model lacks, but for those given as flags, and says so."""
    from resnet_alexnet.models import model_options  # here, because it takes jax, which commands that train need anyway

    known = {*_OF_EVERY_MODEL, *model_options(model.name)}
    for name, value in recipe.items():
        if value is None or name in known or f"--config.model.{name}" in given:
            continue
        model[name] = None
        print(
            f"note: model.{name}={value!r}, which the recipe sets for {recipe['name']}, is left out: "
            f"{model.name} has no such option",
            file=sys.stderr,
        )


def load_config(path: str) -> ConfigDict:
    """Loads a recipe, NAME or NAME:ARGUMENT, or a run folder's config.json.

    Args:
        path: the name of one of our recipes or the path of a file, see `recipes.find_recipe`; and after a colon the
            argument of its get_config.

    Raises:
        InputError: no such file, no get_config in it, an argument it does not take, or a mistake in its code.
    """
    in_folders = re.fullmatch(r"(.*?/.*?\.py)(?::(.*))?", path, re.DOTALL)  # whose names may have colons
    name, argument = in_folders.groups("") if in_folders else (path.partition(":")[0], path.partition(":")[2])
    file = recipes.find_recipe(name).absolute()
    if file.suffix == ".json":
        return from_json(read_config(file)).lock()
    if file.suffix != ".py":
        raise InputError(f"--config={path}: a recipe is a Python file that defines get_config()")
    try:
        with recipes.importable_as_configs(file.resolve().parent):
            module = run_file(file, f"config_{file.stem}", where=f"--config={path}")
            get_config = getattr(module, "get_config", None)
            if get_config is None:
                raise InputError(f"--config={path} defines no get_config()")
            _check_argument(get_config, path, argument)
            config = get_config(argument) if argument else get_config()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"--config={path}: {error_line(error, file)}") from None
    if not isinstance(config, ConfigDict):
        raise InputError(f"--config={path}: get_config() returns {type(config).__name__}, not a ConfigDict")
    return config.lock()


def read_config(file: Path) -> dict[str, Any]:
    """The JSON values of a run folder's config.json. Fields that are younger than the run have their defaults.

    Raises:
        InputError: it is not the config of a run, or it has a field that does not exist any more.
    """
    values, defaults = read_json(file), to_json(load_config("default"))
    if not all(isinstance(values.get(group), dict) for group in ("model", "dataset")):
        raise InputError(f"{file} is not the {CONFIG_FILE} of a run folder")
    known = [*flatten(defaults), *(f"model.{name}" for name in values["model"])]  # a user's own network has options
    if unknown := [name for name in flatten(values) if name not in known]:
        raise InputError(
            f"{file} has the field {unknown[0]!r}, which this version does not have{nearest(unknown[0], known)} "
            "(rename it there if it has another name now: CHANGELOG.md lists them)"
        )
    for name, default in defaults.items():
        values[name] = {**default, **values.get(name, {})} if isinstance(default, dict) else values.get(name, default)
    return values


def _check_argument(get_config: Callable[..., object], path: str, argument: str) -> None:
    """Raises InputError unless get_config takes, or can do without, the argument that `path` gives it."""
    parameters = list(inspect.signature(get_config).parameters.values())
    if argument and not parameters:
        raise InputError(f"--config={path}: this recipe takes no argument after the colon")
    if not argument and parameters and parameters[0].default is inspect.Parameter.empty:
        raise InputError(f"--config={path}: this recipe needs an argument, {path}:{parameters[0].name.upper()}")


def override(config: ConfigDict, arguments: Sequence[str]) -> None:
    """Sets fields from words such as --config.optim.momentum=0.8, by the type each field has.

    The name of the model comes first, in whatever order they stand: a user's own network has options of its own, which
    take a value of any type here and are checked when it is created.

    Raises:
        InputError: an unknown field (the nearest is named) or a value of another type.
    """
    for word in sorted(arguments, key=lambda word: not word.startswith("--config.model.name=")):
        field = word.removeprefix("--config.").partition("=")[0]
        *groups, name = field.split(".")
        if groups == ["model"] and name.isidentifier() and is_guest(config.model.name) and name not in config.model:
            with config.unlocked():
                config.model[name] = placeholder(object)
        kind = _field_type(config, field)
        values = flags.FlagValues()
        group = reduce(getitem, groups, config)  # alone: a flag writes out all of its default, as YAML
        short = f"--config.{name}{word.removeprefix(f'--config.{field}')}"
        try:
            config_flags.DEFINE_config_dict("config", group, flag_values=values, sys_argv=[short])
            values(["main", short])
        except (flags.Error, TypeError, ValueError):
            raise InputError(f"{word} (allowed: {_KINDS.get(kind, kind.__name__)})") from None


def _field_type(config: ConfigDict, field: str) -> type:
    """The type of the values of a field such as "optim.momentum".

    Raises:
        InputError: there is no such field (the nearest is named), or it is a group of fields.
    """
    kind: type = ConfigDict
    group, prefix = config, ""
    for name in field.split("."):
        if kind is not ConfigDict:
            raise InputError(f"unknown config field {field!r}: {prefix.removesuffix('.')!r} is not a group of fields")
        if name not in group:
            allowed = ", ".join(prefix + other for other in group)
            meant = [other for other in flatten(config.to_dict()) if f".{other}".endswith(f".{field.split('.')[-1]}")]
            hint = f", did you mean {' or '.join(map(repr, meant))}?" if meant else nearest(name, group)
            raise InputError(f"unknown config field {field!r}{hint} (allowed: {allowed})")
        kind, group, prefix = group.get_type(name), group[name], f"{prefix}{name}."
    if kind is ConfigDict:
        raise InputError(f"config field {field!r} is a group (allowed: {', '.join(prefix + other for other in group)})")
    return kind


def compare(config: ConfigDict, defaults: ConfigDict) -> Iterator[str]:
    """The fields of a config, a line each; those that differ from the defaults are marked and show both values."""
    before, now = flatten(defaults.to_dict()), flatten(config.to_dict())
    yield f"{sum(now[name] != before[name] for name in before)} of {len(before)} fields differ from the defaults: *"
    for group in read_groups():
        yield ""
        for name in (field.name for field in group.fields):
            value, default = ("unset" if values[name] is None else repr(values[name]) for values in (now, before))
            yield f"  {name} = {value}" if value == default else f"* {name} = {value}  (default: {default})"


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat = {}
    for name, value in config.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def run_title(config: ConfigDict) -> str:
    """The title of a run, such as "resnet50 on cifar10", or "resnet18 on pets" for a folder of that name."""
    name, data_dir = config.dataset.name, config.dataset.data_dir
    path = name if is_guest(name) else data_dir if name in _NAMED_BY_PATH else ""
    model = os.path.basename(config.model.name)  # of a user's own, FILE.py:CLASS
    return f"{model} on {os.path.basename(os.path.abspath(os.path.expanduser(path))) if path else name}"


def to_json(config: ConfigDict) -> dict[str, Any]:
    """The config as plain JSON values (tuples become lists, unset fields null)."""
    return json.loads(json.dumps(config.to_dict()))


def from_json(values: dict[str, Any]) -> ConfigDict:
    """The config that `to_json` made these values of; what was unset takes a value of any type."""
    config = ConfigDict()
    for name, value in values.items():
        if isinstance(value, dict):
            value = from_json(value)
        elif isinstance(value, list):
            value = tuple(value)
        config[name] = placeholder(object) if value is None else value
    return config
