"""Compares runs: python -m resnet_alexnet.compare runs/first runs/second."""

import shutil
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.errors import InputError, printable

_DESCRIPTION = """Compares runs: what they have come to, and in what they differ.

Shows errors, throughput and goodput side by side, and the fields of the config
and of the environment that differ. With --numbers it shows only whether the
runs computed the same numbers as the first one, to the last bit: exit code 0
if so, 1 if a line differs, 2 if a run cannot be compared."""
_FORMATS = ("table", "csv", "json")


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser("python -m resnet_alexnet.compare", _DESCRIPTION, usage="RUN RUN... [OPTIONS]")
    parser.add_argument("folders", metavar="RUN", nargs="*", type=flags.path_text, help="run folders")
    parser.add_argument(
        "--output",
        metavar="FILE.png|.html",
        type=_output,
        help="draw the curves over each other; an .html file has the tables too, and loads nothing",
    )
    flags.add_choice(parser, "--format", _FORMATS, text="how the comparison is printed; by default as a table")
    flags.add_switch(
        parser, "--numbers", text="compare only the metrics, except times and throughput; exit with 1 if a line differs"
    )
    return parser


def _output(text: str) -> Path:
    for suffix in (".png", ".html"):
        if text.endswith(suffix):
            return flags.output_file(suffix)(text)
    raise ArgumentTypeError(f"{text} (allowed: a file name that ends in .png or .html)")


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, or there is no such folder; with --numbers, a run has no metrics.
        SystemExit: code 1, with --numbers, if a line differs.
    """
    options = create_parser().parse(arguments)
    if len(options.folders) < (2 if options.numbers else 1):
        raise InputError("RUN is missing: the run folders to compare, such as compare runs/first runs/second")
    if options.numbers and (options.output or options.format):
        raise InputError("--numbers has a yes or no for an answer: leave --output and --format out")
    from resnet_alexnet.study import compare, comparison

    runs = compare.read_runs(options.folders)
    if options.numbers:
        _compare_numbers(runs)
        return
    if options.output is not None:
        _draw(runs, options.output)
    if options.format in comparison.FORMATS:
        print(comparison.FORMATS[options.format](runs))
    else:
        print(comparison.format_table(runs, shutil.get_terminal_size().columns if sys.stdout.isatty() else 80))


def _draw(runs: Sequence, output: Path) -> None:
    from resnet_alexnet.plots.overlay import write_overlay
    from resnet_alexnet.study.comparison_page import curves, write_page

    if output.suffix == ".html":
        write_page(runs, output)
    else:
        write_overlay(curves(runs), output)
    print(f"wrote {output}", file=sys.stderr)


def _compare_numbers(runs: Sequence) -> None:
    from resnet_alexnet.study.compare import first_difference

    for each in runs:
        if not each.computed:
            raise InputError(f"{each.name} has no metrics to compare: {each.state}, {each.note}")
    first, *others = runs
    found = {other.name: first_difference(first, other) for other in others}
    for name, difference in found.items():
        print(printable(f"{first.name} and {name}: {difference or 'the same numbers'}"))
    if any(found.values()):
        sys.stdout.flush()
        sys.exit(1)


if __name__ == "__main__":
    run(main)
