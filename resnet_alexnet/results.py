"""Writes README.md's table of results: python -m resnet_alexnet.results --runs='docs/results/*' --readme=README.md."""

import glob
from collections.abc import Sequence
from pathlib import Path

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write

_DESCRIPTION = """Writes README.md's table of results from finished runs.

A run is a folder with the config.json, environment.json and metrics.jsonl of a
run folder. No number in the table is typed by hand."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser("python -m resnet_alexnet.results", _DESCRIPTION, usage="--runs=PATTERN --readme=FILE")
    parser.add_argument(
        "--runs", metavar="PATTERN", required=True, help="the folders of the runs, such as --runs='docs/results/*'"
    )
    parser.add_argument(
        "--readme",
        metavar="FILE",
        type=flags.path,
        required=True,
        help="the file that holds the table, such as --readme=README.md",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: no folder matches, there is no such file, or something is wrong with a run.
    """
    options = create_parser().parse(arguments)
    from resnet_alexnet.workdir.results import update

    folders = [Path(folder) for folder in sorted(glob.glob(options.runs)) if Path(folder).is_dir()]
    if not folders:
        raise InputError(f"--runs={options.runs} matches no folder, such as --runs='docs/results/*'")
    if not options.readme.is_file():
        raise InputError(f"--readme={options.readme}: no such file")
    with atomic_write(options.readme) as temporary:
        temporary.write_text(update(options.readme, folders), encoding="utf-8")


if __name__ == "__main__":
    run(main)
