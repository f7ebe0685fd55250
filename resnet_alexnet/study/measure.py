"""Measures a run: python -m resnet_alexnet.study.measure --workdir=runs/first --measurements=test,probe."""

import importlib
import traceback
from collections.abc import Sequence
from pathlib import Path

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, exit_code, run
from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.study.measurements import MEASUREMENTS, measurement_folder, measurement_report, measurement_words

_DESCRIPTION = """Measures a run as studies do, and writes to its folder.

Each measurement writes to a folder of its own in the folder `measured` of the
run. What is measured already is left as it is. A measurement that fails does
not stop the others."""
_FAILED, _BAD_INPUT = 1, 2  # exit codes


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.study.measure", _DESCRIPTION, usage="--workdir=DIR --measurements=NAME,..."
    )
    parser.add_argument(
        "--workdir", metavar="DIR", type=flags.run_folder, required=True, help="the run folder, such as runs/first"
    )
    parser.add_argument(
        "--measurements",
        metavar="NAME,...",
        type=flags.list_of(flags.one_of(list(MEASUREMENTS))),
        required=True,
        help=f"what to measure, of {', '.join(MEASUREMENTS)}; such as --measurements=test",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, or with what all measurements that failed were given.
        TrainingError: a measurement failed.
        SystemExit: a signal came.
    """
    options = create_parser().parse(arguments)
    codes: dict[str, int] = {}
    for name in options.measurements:
        if not measurement_report(name, options.workdir).exists():
            codes[name] = measure(name, options.workdir)
    if failed := [name for name, code in codes.items() if code]:
        error = InputError if all(codes[name] == _BAD_INPUT for name in failed) else TrainingError
        raise error(f"{len(failed)} of {len(options.measurements)} measurements failed: {', '.join(failed)}")


def measure(name: str, workdir: Path) -> int:
    """Does a measurement of a run in this process; returns the exit code of its command.

    Raises:
        SystemExit: a signal came.
    """
    module, words = MEASUREMENTS[name].module, measurement_words(name, workdir)
    print(f"measuring {name}: resnet_alexnet.{module} {' '.join(words)}", flush=True)
    package = importlib.import_module(f"resnet_alexnet.{module}")
    command = importlib.import_module(f"{package.__name__}.__main__") if hasattr(package, "__path__") else package

    def do() -> None:
        folder = measurement_folder(name, workdir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}") from None
        command.main(words)

    try:
        code = exit_code(do)
    except Exception:  # of one measurement, which is not to keep the others from being done
        traceback.print_exc()
        return _FAILED
    if code not in (0, _FAILED, _BAD_INPUT):
        raise SystemExit(code)
    return code


if __name__ == "__main__":
    run(main)
