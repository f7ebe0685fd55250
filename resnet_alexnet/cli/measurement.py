"""What commands share that measure a trained network on a split: their flags, and how they report."""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import Any

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser
from resnet_alexnet.files import write_json

_SPLIT = "test, validation or train; by default test, or validation if there is no test"


def add_flags(parser: Parser, *, seed: str, split: str = _SPLIT) -> None:
    """Adds --split, --seed, --batch_size, --output and --compile_cache; `seed` is what is drawn."""
    parser.add_argument("--split", metavar="NAME", default="", help=split)
    parser.add_argument("--seed", metavar="N", type=flags.whole_number(0), default=0, help=f"of {seed}")
    most = flags.whole_number(most=100_000)
    parser.add_argument("--batch_size", metavar="N", type=most, default=100, help="images per step")
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write every number to this file"
    )
    flags.add_compile_cache(parser)


def report(options: Namespace, result: Mapping[str, Any], title: str, rows: Iterable[tuple[str, object]]) -> None:
    """Writes the result to --output, if that is given, and prints the rows.

    Raises:
        InputError: the file cannot be written.
    """
    from resnet_alexnet.cli.progress import print_summary  # here, so that --help is fast

    written = []
    if options.output is not None:
        write_json(options.output, result)
        written.append(("written", str(options.output)))
    print_summary(title, [*rows, *written])
