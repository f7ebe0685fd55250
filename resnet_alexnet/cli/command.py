"""The frame of every command: its flags and help, its exit codes, and the one line a user sees for bad input."""

import argparse
import contextlib
import difflib
import errno
import io
import os
import shutil
import signal
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import NoReturn

from resnet_alexnet.cli import memory
from resnet_alexnet.cli.early import EXIT_CODES as SIGNAL_CODES
from resnet_alexnet.cli.early import interrupted
from resnet_alexnet.cli.interrupt import ends_promptly, ignore_signals
from resnet_alexnet.errors import InputError, InterruptedRunError, TrainingError, memory_needed, nearest, printable
from resnet_alexnet.workdir import fields

EXIT_CODES = "exit codes: 0 done, 1 failed, 2 bad input, 75 SIGTERM (run it again), 130 Ctrl-C"
OVERRIDE = "--config.FIELD"  # stands for --config.batch_size and the like where a command declares its flags

_REMEDY = "lower its batch size, or give it fewer or smaller images"
PIPE_CLOSED = 141  # as a shell reports a program that SIGPIPE ended
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_BAD_PATH = (errno.ENAMETOOLONG, errno.EACCES, errno.ELOOP)  # seen only when a path that a user gave is used


_called_as: ContextVar[str | None] = ContextVar("called_as", default=None)


@contextlib.contextmanager
def called_as(program: str) -> Iterator[None]:
    """Inside the `with` block, the help of a command shows this program instead of `python -m ...`."""
    token = _called_as.set(program)
    try:
        yield
    finally:
        _called_as.reset(token)


def command_words(name: str) -> list[str]:
    """The words that call another command, whose module has its name, in the way in which this one was called."""
    program, python = sys.argv[0], _shortest(sys.executable)
    if _called_as.get() is None:
        return [python, "-m", f"resnet_alexnet.{name}"]
    if os.path.basename(program) == "__main__.py":
        return [python, "-m", "resnet_alexnet", name]
    return [_shortest(program), name]


def _shortest(program: str) -> str:
    """The name of a program if the shell finds it by that, else its path."""
    name = os.path.basename(program)
    return name if shutil.which(name) == program else os.path.relpath(program)


class Parser(argparse.ArgumentParser):
    """The flags of a command, from which its help is made. Bad input is an InputError of one line.

    Flags are written `--name=value` or `--name value`. A flag declared with `nargs="?"` may stand alone and then has
    the value `const`; a value is given to it as `--name=value` only. The help of a required flag ends with an example,
    because it is also the message when the flag is missing.
    """

    def __init__(self, prog: str, description: str, *, usage: str) -> None:
        """Starts the declaration.

        Args:
            prog: how the command is called, such as "python -m resnet_alexnet.kernels"; see `called_as`.
            description: a line that says what the command does; then any number of paragraphs.
            usage: what follows `prog`: the flags that must be given, then [OPTIONS].
        """
        prog = _called_as.get() or prog
        super().__init__(
            prog=prog,
            usage=textwrap.fill(f"{prog} {usage}", 73, subsequent_indent=" " * 11, break_on_hyphens=False),
            description=description,
            epilog=EXIT_CODES,
            formatter_class=_Formatter,
            allow_abbrev=False,
            exit_on_error=False,
        )
        self.add_argument("--version", action="version", help="show the version and exit")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The values of the flags and of the other words.

        Raises:
            InputError: an unknown flag, a bad or missing value, a missing flag, or flags that exclude each other.
            SystemExit: code 0, after --help or --version was printed.
        """
        if "_ARGCOMPLETE" in os.environ:  # the shell asks for completions
            import argcomplete

            argcomplete.autocomplete(self)
        if {"-h", "--help", "--version"} & set(words):
            print(_version() if "--version" in words else self.format_help().rstrip(), flush=True)
            self.exit()
        flags, others = self._split(words)
        self._check_given({name for name, value in flags if value})
        written = [f"{name}={value}" for name, value in flags]
        try:
            options, left = self.parse_known_args([*written, "--", *others] if others else written)
        except argparse.ArgumentError as error:
            raise InputError(f"{error.argument_name}={error.message}") from None
        if left:
            raise InputError(f"unexpected argument {left[-1]!r}: flags are written --name=value")
        return options

    def _split(self, words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
        """The flags with their values, and the other words."""
        flags, others = [], []
        left = iter(words)
        for word in left:
            name, equals, value = word.partition("=")
            is_override = name.startswith("--config.") and OVERRIDE in self._option_string_actions
            action = self._option_string_actions.get(OVERRIDE if is_override else name)
            if word == "--":
                others += left
            elif word == "-" or not word.startswith("-"):
                others.append(word)
            elif action is None:
                known = ", ".join(option for option in self._option_string_actions if option.startswith("--"))
                if not equals and (value := next(left, "")) and not value.startswith("-"):
                    word = f"{name}={value}"
                raise InputError(f"unknown flag {name}{self._suggestion(word)} (allowed: {known})")
            else:
                if not equals:
                    value = action.const if action.nargs == "?" else next(left, None)
                if value is None or (not equals and value.startswith("--")):
                    raise InputError(f"{name} has no value: write {name}=VALUE")
                flags.append((OVERRIDE, f"{name}={value}") if is_override else (name, value))
        return flags, others

    def _suggestion(self, word: str) -> str:
        """A hint at what an unknown flag is meant to be: a field of the config, or the flag with the nearest name."""
        name, equals, value = word.partition("=")
        known = list(self._option_string_actions)
        if OVERRIDE not in known:
            return nearest(name, known)
        names, flag = fields.field_names(), name.removeprefix("--")
        candidates = {field: [field] for field in names}  # by the whole name, or else by its last part
        for field in names:
            if (last := field.rpartition(".")[2]) not in names:
                candidates.setdefault(last, []).append(field)
        own = [option.removeprefix("--") for option in known]
        close = difflib.get_close_matches(flag, [*own, *candidates], n=1)
        if not close or close[0] in own:
            return nearest(name, known)
        meant = " or ".join(f"--config.{field}{equals}{value}" for field in candidates[close[0]])
        return f", did you mean {meant}?"

    def _check_given(self, given: set[str]) -> None:
        """Raises InputError for a required flag that is not given, or flags of which only one may be."""
        for action in self._actions:
            if action.required and action.option_strings and not given & set(action.option_strings):
                raise InputError(f"{action.option_strings[0]} is missing: {action.help}")
        for group in self._mutually_exclusive_groups:
            flags = {action.option_strings[0]: action.help for action in group._group_actions}
            both = [flag for flag in flags if flag in given]
            if len(both) > 1:
                raise InputError(f"{both[0]} and {both[1]} exclude each other: give one of them")
            if group.required and not both:
                each = "; ".join(f"{flag}, {text}" for flag, text in flags.items())
                raise InputError(f"{' or '.join(flags)} is missing: {each}")

    def error(self, message: str) -> NoReturn:
        """Raises what argparse finds wrong as an InputError."""
        raise InputError(f"{message}; see --help")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows flags as they are written, --name=VALUE, and the defaults of those that have one."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        text = super()._format_action_invocation(action)
        if action.nargs == 0 or not action.option_strings:
            return text
        return text.replace(" [", "[=").replace(f" {action.metavar}", f"={action.metavar}")

    def _get_help_string(self, action: argparse.Action) -> str:
        default = str(action.default).lower() if isinstance(action.default, bool) else str(action.default)
        is_shown = action.default not in (None, False, "", (), [], argparse.SUPPRESS) and action.option_strings
        return f"{action.help} (default: {default})" if is_shown else action.help or ""


def complete_word(choices: Sequence[str]) -> str:
    """Completes the first word of a command line if the shell asks for that; returns it if it is complete already.

    In that case the command that it names is to complete the words behind it. Empty if the shell asks nothing.
    """
    if "_ARGCOMPLETE" not in os.environ:
        return ""
    import argcomplete

    start = int(os.environ["_ARGCOMPLETE"])  # words of the program's name
    typed = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])].split(" ")[start:]
    if len(typed) > 1 and typed[0] in choices:
        os.environ["_ARGCOMPLETE"] = str(start + 1)
        return typed[0]
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("command", choices=choices)
    argcomplete.autocomplete(parser)
    return ""


def _version() -> str:
    from importlib import metadata  # slow to import, and seldom asked for

    return f"resnet_alexnet {metadata.version('resnet_alexnet')}"


def run(main: Callable[[Sequence[str]], object]) -> NoReturn:
    """Runs a command with the words of this process's command line; see `exit_with` and `memory.use_huge_pages`."""
    memory.use_huge_pages()
    memory.collect_less_often()
    try:
        exit_with(lambda: main(sys.argv[1:]))
    finally:
        ignore_signals()


def exit_with(command: Callable[[], object]) -> NoReturn:
    """Runs a command and ends the process with its `exit_code`."""
    sys.exit(exit_code(command))


def exit_at_once_with(command: Callable[[], object], *, host: str) -> NoReturn:
    """Runs a command that other processes take part in, and ends this one with its `exit_code`.

    After a failure the process ends without what Python does at its end: there jax waits for the other processes. Lines
    on standard error begin with `host`.
    """
    try:
        code = exit_code(command, host=host)
    except BaseException:
        traceback.print_exc()
        code = 1
    if code:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)
    sys.exit(0)


def exit_code(command: Callable[[], object], *, host: str = "") -> int:
    """Runs a command and returns its exit code; what a user can cause is one line on standard error.

    The exit codes: 0; 2 for InputError and a path that cannot be used; 1 for TrainingError and a full disk; 141 if
    nobody reads the output any more; 130 for Ctrl-C; 75 for SIGTERM and SIGHUP; an InterruptedRunError's own.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks is not worth a traceback
            stream.reconfigure(errors="replace")

    def say(line: str, code: int) -> int:
        """Says a line and returns the code; while the error is handled: what it refers to may take long to end."""
        with contextlib.suppress(OSError):  # nobody reads standard error any more; the exit code still tells
            print(f"{host}: {line}" if host else line, file=sys.stderr)
        return code

    code = 0
    try:
        with ends_promptly(), memory_needed("in this command", _REMEDY), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd files; what matters is raised, with their names
            command()
            _flush()
    except InputError as error:
        code = say(_error(error), 2)
    except TrainingError as error:
        code = say(_error(error), 1)
    except InterruptedRunError as error:
        code = say(printable(str(error)), error.exit_code)
    except BrokenPipeError:  # the reader of the output has closed it
        code = PIPE_CLOSED
    except OSError as error:
        if error.errno in _NO_ROOM:
            code = say(_error(f"output cannot be written: {error}"), 1)
        elif error.errno in _BAD_PATH:
            code = say(_error(f"{error.filename} cannot be used: {error.strerror}"), 2)
        else:
            raise
    except KeyboardInterrupt as interrupt:
        number = interrupt.args[0] if interrupt.args else signal.SIGINT  # Python's own has no number
        code = say(interrupted(number), SIGNAL_CODES[number])
    if code:
        _abandon_output()
    return code


def _error(message: object) -> str:
    return f"error: {printable(' '.join(str(message).split()))}"


def _abandon_output() -> None:
    """Writes what is left. Output that cannot be written is lost: Python would fail at it once more, at length."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flush() -> None:
    if sys.stdout is not None:  # None if it was closed from the start
        sys.stdout.flush()
