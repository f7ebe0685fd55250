"""What every command shares: its flags, its exit codes, and the one line a user sees when something is wrong."""

import importlib.util
import inspect
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from resnet_alexnet import run_folder
from resnet_alexnet.errors import InputError, InterruptedRunError, TrainingError, nearest

USAGE = """usage: python -m resnet_alexnet.main --config=FILE.py[:ARGUMENT] --workdir=DIR [--config.FIELD=VALUE ...]

  --config    a recipe such as configs/quickstart.py, or a run folder's config.json; may be left out where
              the workdir holds a config.json: that run is resumed
  --config.x  sets a field of the recipe, such as --config.batch_size=64 --config.optim.learning_rate=0.05;
              configs/default.py lists and explains every field
  --workdir   the run folder; an unfinished run in it is resumed

exit codes: 0 done · 1 failed · 2 bad input · 75 saved after SIGTERM, run again to go on · 130 saved after Ctrl-C
"""
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a tuple such as (10,20)"}


def exit_with(command: Callable[[], object]) -> NoReturn:
    """Runs a command and ends the process: 0; 2 for InputError, 1 for TrainingError, both in one line."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd files; what matters is raised, with their names
            command()
    except InputError as error:
        _fail(str(error), 2)
    except TrainingError as error:
        _fail(str(error), 1)
    except InterruptedRunError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def run(train: Callable[[ConfigDict, Path], object]) -> NoReturn:
    """The training command: parses --config and --workdir from the command line and calls `train` with them."""
    if {"-h", "--help", "--helpfull", "--helpshort"} & set(sys.argv[1:]):
        print(USAGE, end="")
        sys.exit(0)
    exit_with(lambda: train(*parse_run(sys.argv[1:])))


def parse_run(arguments: Sequence[str]) -> tuple[ConfigDict, Path]:
    """The config with its overrides, locked, and the workdir.

    Raises:
        InputError: anything that is not as USAGE says.
    """
    path, rest = _take_config(arguments)
    workdir = _parse_others(rest, {"workdir": "folder"})["workdir"]
    if not workdir:
        raise InputError("--workdir is missing: the folder of the run, such as --workdir=runs/first")
    folder = _path("workdir", workdir)
    if not path and (folder / "config.json").exists():
        path = str(folder / "config.json")
    return _load(path, rest), folder


def parse_config(arguments: Sequence[str], names: dict[str, str]) -> tuple[ConfigDict, dict[str, str]]:
    """The config with its overrides, locked, and the values of other flags; see `parse_flags`.

    Raises:
        InputError: no config, or something that is wrong with it or with a flag.
    """
    path, rest = _take_config(arguments)
    return _load(path, rest), _parse_others(rest, names)


def parse_trained(
    arguments: Sequence[str], names: dict[str, str]
) -> tuple[Path, int | str, ConfigDict | None, dict[str, str]]:
    """What a command on a trained network is given.

    Returns:
        The run folder (--workdir) or weight file (--weights); the checkpoint (--step), "last" where not given; the
        config of --config, or else the run folder's, with its overrides, or None; and the values of `names`.

    Raises:
        InputError: not one of --workdir and --weights; or something that is wrong with a flag or the config.
    """
    path, rest = _take_config(arguments)
    own = {"workdir": "run folder", "weights": "weight file", "step": "checkpoint"}
    given = _parse_others(rest, {**own, **names})
    workdir, weights, step = (given.pop(name) for name in own)
    if bool(workdir) == bool(weights):
        raise InputError("give --workdir=DIR, a run folder, or --weights=FILE, a weight file: one of the two")
    if step not in ("", "last", "best") and not step.isdecimal():
        raise InputError(f"--step={step} (allowed: last, best, or a checkpoint's step)")
    folder = _path("workdir" if workdir else "weights", workdir or weights)
    if not path and workdir and (folder / run_folder.CONFIG_FILE).is_file():
        path = str(folder / run_folder.CONFIG_FILE)
    config = _load(path, rest) if path or any(word.startswith("--config.") for word in rest) else None
    return folder, int(step) if step.isdecimal() else step or "last", config, given


def parse_output(flag: str, text: str, suffix: str) -> Path:
    """The file that a flag names to be written.

    Raises:
        InputError: it does not end in `suffix`, or its folder does not exist.
    """
    path = _path(flag, text)
    if path.suffix != suffix or not path.parent.is_dir() or path.is_dir():
        raise InputError(f"--{flag}={text} (allowed: a file that ends in {suffix}, in a folder that exists)")
    return path


def parse_number(flag: str, text: str, *, most: int) -> int:
    """The whole number from 1 to `most` that a flag gives.

    Raises:
        InputError: it is none.
    """
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise InputError(f"--{flag}={text} (allowed: a whole number from 1 to {most:,})")
    return int(text)


def _load(path: str, words: Sequence[str]) -> ConfigDict:
    """The config at `path`, with the overrides among `words`."""
    if not path:
        raise InputError("--config is missing: a recipe such as --config=configs/quickstart.py")
    config = load_config(path)
    override(config, [word for word in words if word.startswith("--config.")])
    return config


def _parse_others(words: Sequence[str], names: dict[str, str]) -> dict[str, str]:
    """The values of the flags among `words` that are not the config's."""
    others = [word for word in words if not word.startswith("--config.")]
    return parse_flags(["", *others], {**names, "config": "recipe"})


def parse_flags(arguments: Sequence[str], names: dict[str, str]) -> dict[str, str]:
    """Values of string flags by name, empty where not given; `names` maps each to its help.

    Raises:
        InputError: an unknown flag (the nearest is named), a flag without value, or a word that is no flag.
    """
    values = flags.FlagValues()
    for name, text in names.items():
        flags.DEFINE_string(name, "", text, flag_values=values)
    try:
        words = values(list(arguments))[1:]
    except flags.UnrecognizedFlagError as error:
        allowed, hint = ", ".join(f"--{name}" for name in names), nearest(error.flagname, names)
        raise InputError(f"unknown flag --{error.flagname}{hint} (allowed: {allowed})") from None
    except flags.Error as error:
        raise InputError(str(error)) from None
    if words:
        raise InputError(f"unexpected argument {words[0]!r}: flags are written --name=value")
    return {name: values[name].value or "" for name in names}


def _take_config(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Takes --config=PATH out of the arguments and joins `--name value` to `--name=value`."""
    path, rest = "", []
    words = iter(arguments)
    for word in words:
        if word.startswith("--") and "=" not in word:
            value = next(words, None)
            if value is None or value.startswith("--"):
                raise InputError(f"{word} has no value: write {word}=VALUE")
            word = f"{word}={value}"
        if word.startswith("--config="):
            path = word.removeprefix("--config=")
        else:
            rest.append(word)
    return path, rest


def load_config(path: str) -> ConfigDict:
    """Loads a recipe, FILE.py or FILE.py:ARGUMENT, or a run folder's config.json.

    Raises:
        InputError: no such file, no get_config in it, an argument it does not take, or a mistake in its code.
    """
    name, _, argument = path.partition(":")
    file = _path("config", name)
    if not file.is_file():
        known = sorted(str(other) for other in file.parent.glob("*.py"))
        raise InputError(f"--config={path}: no such file{' (there are: ' + ', '.join(known) + ')' if known else ''}")
    if file.suffix == ".json":
        values = run_folder.read_json(file)
        if not isinstance(values.get("model"), dict) or not isinstance(values.get("dataset"), dict):
            raise InputError(f"--config={path} is not the {run_folder.CONFIG_FILE} of a run folder")
        return run_folder.from_json(values).lock()
    # Recipes import one another as `configs.default`, from wherever the command is called.
    root = str(file.resolve().parent.parent)
    if root not in sys.path:
        sys.path.append(root)
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InputError(f"--config={path}: a recipe is a Python file that defines get_config()")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        get_config = getattr(module, "get_config", None)
        if get_config is None:
            raise InputError(f"--config={path} defines no get_config()")
        _check_argument(get_config, path, argument)
        config = get_config(argument) if argument else get_config()
    except InputError:
        raise
    # What a slip in a recipe raises: a name, an import, a field that does not exist, a value of the wrong type.
    except (
        SyntaxError,
        ImportError,
        NameError,
        AttributeError,
        LookupError,
        ArithmeticError,
        TypeError,
        ValueError,
    ) as error:
        raise InputError(f"--config={path}: {_place(error, file)}{type(error).__name__}: {error}") from None
    if not isinstance(config, ConfigDict):
        raise InputError(f"--config={path}: get_config() returns {type(config).__name__}, not a ConfigDict")
    return config.lock()


def _check_argument(get_config: Callable[..., object], path: str, argument: str) -> None:
    """Raises InputError unless get_config takes, or can do without, the argument that `path` gives it."""
    parameters = list(inspect.signature(get_config).parameters.values())
    if argument and not parameters:
        raise InputError(f"--config={path}: this recipe takes no argument after the colon")
    if not argument and parameters and parameters[0].default is inspect.Parameter.empty:
        raise InputError(f"--config={path}: this recipe needs an argument, {path}:{parameters[0].name.upper()}")


def _place(error: Exception, file: Path) -> str:
    """Says in which line of `file` an error arose, as "line 7: "."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"line {lines[-1]}: " if lines else ""


def override(config: ConfigDict, arguments: Sequence[str]) -> None:
    """Sets fields from words such as --config.optim.momentum=0.8, by the type each field has.

    Raises:
        InputError: an unknown field (the nearest is named) or a value of another type.
    """
    for word in arguments:
        kind = _field_type(config, word.removeprefix("--config.").partition("=")[0])
        values = flags.FlagValues()
        try:
            config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=[word])
            values(["main", word])
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
            raise InputError(f"unknown config field {field!r}: {prefix.removesuffix('.')!r} is no group of fields")
        if name not in group:
            allowed = ", ".join(prefix + other for other in group)
            raise InputError(f"unknown config field {field!r}{nearest(name, group)} (allowed: {allowed})")
        kind, group, prefix = group.get_type(name), group[name], f"{prefix}{name}."
    if kind is ConfigDict:
        raise InputError(f"config field {field!r} is a group (allowed: {', '.join(prefix + other for other in group)})")
    return kind


def _path(flag: str, text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InputError(f"--{flag}={text}: there is no such user's home") from None


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
