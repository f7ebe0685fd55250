"""Shows the results of finished runs, or writes README.md's table of them: python -m resnet_alexnet.results."""

import glob
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.errors import InputError, printable

_DESCRIPTION = """Shows the results of runs, or writes README.md's table of them.

A run is a folder with the config.json, environment.json and metrics.jsonl of a
run folder. No number in the table is typed by hand."""
_RUNS = "runs/*"


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser("python -m resnet_alexnet.results", _DESCRIPTION, usage="[RUN...] [--readme=FILE] [--csv=FILE]")
    text = f"run folders, and for --csv folders of studies; default {_RUNS}"
    parser.add_argument("folders", metavar="RUN", nargs="*", type=flags.path_text, help=text)
    parser.add_argument(
        "--runs", metavar="PATTERN", type=flags.path_text, help="run folders by a pattern, such as 'docs/results/*'"
    )
    parser.add_argument(
        "--readme",
        metavar="FILE",
        type=flags.path,
        help="write the table to this file, between <!-- results --> and <!-- /results -->; all runs must be finished",
    )
    parser.add_argument(
        "--csv",
        metavar="FILE.csv",
        type=flags.output_file(".csv"),
        help="write every number of these runs and studies to this file, for other programs",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: no folder matches, there is no such file, or something is wrong with a run.
    """
    options = create_parser().parse(arguments)
    from resnet_alexnet.study.results import read_result, rows, update
    from resnet_alexnet.study.tables import align, write_document

    pattern = options.runs or ("" if options.folders else _RUNS)
    found = [folder for folder in sorted(glob.glob(pattern)) if Path(folder).is_dir()]
    if pattern and not found:
        raise InputError(f"--runs={pattern} matches no folder, such as --runs='docs/results/*'")
    folders = [Path(folder) for folder in (*options.folders, *found)]
    if options.readme is not None:
        if not options.readme.is_file():
            raise InputError(f"--readme={options.readme}: no such file")
        write_document(options.readme, update(options.readme, folders))
        return
    if options.csv is not None:
        from resnet_alexnet.study.numbers import write_numbers

        write_numbers(folders, options.csv)
        return
    results = {}
    for folder in folders:
        try:
            results[str(folder)] = read_result(folder)
        except InputError as error:
            print(f"left out: {printable(str(error))}", file=sys.stderr)
    if not results:
        raise InputError("none of these folders has a result: finish a run, or name others, such as results runs/*")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    print("\n".join(map(printable, align(rows(results), width))))


if __name__ == "__main__":
    run(main)
