"""What every command shares: its flags, its exit codes, and the one line a user sees when something is wrong."""

import errno
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict

from resnet_alexnet.errors import InputError, InterruptedRunError, TrainingError, nearest
from resnet_alexnet.workdir.config import CONFIG_FILE, load_overridden, parse_path

USAGE = """usage: python -m resnet_alexnet.main --config=FILE.py[:ARGUMENT] --workdir=DIR [--config.FIELD=VALUE ...]

  --config    a recipe such as configs/quickstart.py, or a run folder's config.json; may be left out where
              the workdir holds a config.json: that run is resumed
  --config.x  sets a field of the recipe, such as --config.batch_size=64 --config.optim.learning_rate=0.05;
              configs/default.py lists and explains every field
  --workdir   the run folder; an unfinished run in it is resumed

exit codes: 0 done · 1 failed · 2 bad input · 75 saved after SIGTERM, run again to go on · 130 saved after Ctrl-C
"""

_PIPE_CLOSED = 141  # as a shell says of a program that SIGPIPE ended
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_BAD_PATH = (errno.ENAMETOOLONG, errno.EACCES, errno.ELOOP)  # seen only when a path that a user gave is used


def exit_with(command: Callable[[], object]) -> NoReturn:
    """Runs a command and ends the process; what a user can cause is one line on standard error.

    The exit codes: 0; 2 for InputError and a path that cannot be used; 1 for TrainingError and a full disk; 141 where
    nobody reads the output any more; 130 for Ctrl-C; an InterruptedRunError's own.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd files; what matters is raised, with their names
            command()
        _flush()
    except InputError as error:
        _fail(str(error), 2)
    except TrainingError as error:
        _fail(str(error), 1)
    except InterruptedRunError as error:
        print(error, file=sys.stderr)
        _exit(error.exit_code)
    except BrokenPipeError:  # whoever read the output has seen enough
        _exit(_PIPE_CLOSED)
    except OSError as error:
        if error.errno in _NO_ROOM:
            _fail(f"output cannot be written: {error}", 1)
        if error.errno in _BAD_PATH:
            _fail(f"{error.filename} cannot be used: {error.strerror}", 2)
        raise
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _exit(130)
    _exit(0)


def run(train: Callable[[ConfigDict, Path], object]) -> NoReturn:
    """The training command: parses --config and --workdir from the command line and calls `train` with them."""
    if {"-h", "--help", "--helpfull", "--helpshort"} & set(sys.argv[1:]):
        exit_with(lambda: print(USAGE, end=""))
    exit_with(lambda: train(*parse_run(sys.argv[1:])))


def parse_run(arguments: Sequence[str]) -> tuple[ConfigDict, Path]:
    """The config with its overrides, locked, and the workdir.

    Raises:
        InputError: anything that is not as USAGE says.
    """
    path, rest = take_config(arguments)
    workdir = parse_others(rest, {"workdir": "folder"})["workdir"]
    if not workdir:
        raise InputError("--workdir is missing: the folder of the run, such as --workdir=runs/first")
    folder = parse_path("workdir", workdir)
    if not path and os.path.exists(folder / "config.json"):
        path = str(folder / "config.json")
    return load_overridden(path, rest), folder


def parse_config(arguments: Sequence[str], names: dict[str, str]) -> tuple[ConfigDict, dict[str, str]]:
    """The config with its overrides, locked, and the values of other flags; see `parse_flags`.

    Raises:
        InputError: no config, or something that is wrong with it or with a flag.
    """
    path, rest = take_config(arguments)
    return load_overridden(path, rest), parse_others(rest, names)


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
    path, rest = take_config(arguments)
    own = {"workdir": "run folder", "weights": "weight file", "step": "checkpoint"}
    given = parse_others(rest, {**own, **names})
    workdir, weights, step = (given.pop(name) for name in own)
    trained = parse_trained_path(workdir, weights)
    if not path and workdir and os.path.isfile(trained / CONFIG_FILE):
        path = str(trained / CONFIG_FILE)
    config = load_overridden(path, rest) if path or any(word.startswith("--config.") for word in rest) else None
    return trained, parse_step(step), config, given


def parse_trained_path(workdir: str, weights: str) -> Path:
    """The run folder or weight file that --workdir or --weights names.

    Raises:
        InputError: not one of the two is given, or there is no such thing.
    """
    if bool(workdir) == bool(weights):
        raise InputError("name one trained network: --workdir=DIR, a run folder, or --weights=FILE, a weight file")
    path = parse_path("workdir" if workdir else "weights", workdir or weights)
    if workdir and not os.path.isdir(path):
        raise InputError(f"--workdir={workdir}: no such folder")
    if weights and not os.path.isfile(path):
        raise InputError(f"--weights={weights}: no such file")
    return path


def parse_output(flag: str, text: str, suffix: str) -> Path:
    """The file that a flag names to be written.

    Raises:
        InputError: it does not end in `suffix`, or its folder does not exist or cannot be written to.
    """
    path = parse_path(flag, text)
    if path.suffix != suffix or not os.path.isdir(path.parent) or os.path.isdir(path):
        raise InputError(f"--{flag}={text} (allowed: a file that ends in {suffix}, in a folder that exists)")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"--{flag}={text}: {path.parent} cannot be written to")
    return path


def parse_others(words: Sequence[str], names: dict[str, str]) -> dict[str, str]:
    """The values of the flags among `words`, as `take_config` leaves them, that are not the config's.

    Raises:
        InputError: see `parse_flags`.
    """
    others = [word for word in words if not word.startswith("--config.")]
    return parse_flags(["", *others], {**names, "config": "recipe"})


def parse_flags(arguments: Sequence[str], names: dict[str, str]) -> dict[str, str]:
    """Values of string flags by name, empty where not given; `names` maps each to its help.

    Raises:
        InputError: an unknown flag (the nearest is named), a flag without value, or a word that is no flag.
    """
    values, words = parse_words(arguments, names)
    if words:
        raise InputError(f"unexpected argument {words[0]!r}: flags are written --name=value")
    return values


def parse_words(arguments: Sequence[str], names: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """As `parse_flags`, and the words that are no flags, before, between and behind them.

    Raises:
        InputError: an unknown flag (the nearest is named), or a flag without value.
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
    return {name: values[name].value or "" for name in names}, words


def parse_number(flag: str, text: str, *, most: int = 2**31 - 1) -> int:
    """The whole number from 1 to `most` that a flag gives.

    Raises:
        InputError: it is none.
    """
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise InputError(f"--{flag}={text} (allowed: a whole number from 1 to {most:,})")
    return int(text)


def parse_step(text: str) -> int | str:
    """Which checkpoint of a run: "last" (also where nothing is said), "best", or a step.

    Raises:
        InputError: it is none of these.
    """
    if text in ("", "last", "best"):
        return text or "last"
    if not text.isdecimal():
        raise InputError(f"--step={text} (allowed: last, best by validation error, or the number of a step)")
    return int(text)


def take_config(arguments: Sequence[str]) -> tuple[str, list[str]]:
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


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    _exit(code)


def _exit(code: int) -> NoReturn:
    """Ends the process. Output that cannot be written is lost: Python would fail at it once more, at length."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _flush() -> None:
    if sys.stdout is not None:  # as it is where it was closed from the start
        sys.stdout.flush()
