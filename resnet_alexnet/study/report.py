"""Writes the report of studies: python -m resnet_alexnet.study.report --workdirs=runs/study --output=runs/report."""

from collections.abc import Sequence
from pathlib import Path

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run

_DESCRIPTION = """Writes the report of studies, from their run folders alone.

One HTML page with charts, which loads nothing; REPORT.md with pictures; and
results.csv with all numbers. Runs that are missing, failed or do not fit are
named in it."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.study.report", _DESCRIPTION, usage="--workdirs=GLOB --output=DIR [OPTIONS]"
    )
    parser.add_argument(
        "--workdirs",
        metavar="GLOB",
        required=True,
        help="folders of studies, or run folders, such as --workdirs='runs/study*'",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=flags.path,
        required=True,
        help="the folder to write, such as --output=runs/report",
    )
    parser.add_argument(
        "--records",
        metavar="DIR",
        type=flags.path,
        help="also copy what the report is made from to this folder, without checkpoints and scores: a few MB from "
        "which it can be made again; --workdirs is one folder of studies then",
    )
    flags.add_choice(
        parser,
        "--scale",
        ("smoke", "cpu", "gpu", "imagenet"),
        text="of run folders that lie in no folder of studies (default: cpu)",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: nothing matches, or the output cannot be written.
    """
    options = create_parser().parse(arguments)
    from resnet_alexnet.study.findings import read_findings
    from resnet_alexnet.study.page import write_report
    from resnet_alexnet.study.records import copy_records

    findings = read_findings(options.workdirs, scale=options.scale)
    paths = write_report(findings, options.output)
    for problem in findings.problems:
        print(f"note: {problem}")
    print(f"written: {', '.join(map(str, paths))}")
    if options.records is not None:
        count = copy_records(Path(options.workdirs), options.records)
        print(f"copied: {count:,} files to {options.records}")


if __name__ == "__main__":
    run(main)
