"""Shows what the papers published, or writes the tables of docs: python -m resnet_alexnet.papers resnet34."""

import shutil
import sys
from collections.abc import Sequence

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.errors import check_name

_DESCRIPTION = """Shows the published numbers of networks, with their sources.

Says of each number whether it is of one run, a mean or the best, and how the
network was tested. Without a name, shows all numbers."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser("python -m resnet_alexnet.papers", _DESCRIPTION, usage="[MODEL...] [--docs=DIR]")
    parser.add_argument("models", metavar="MODEL", nargs="*", help="networks, such as alexnet or cifar_resnet110")
    parser.add_argument(
        "--docs",
        metavar="DIR",
        type=flags.run_folder,
        help="write the tables of differences.md, papers.md and recipes.md in this folder instead, between their marks",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: nothing is published of a network, or a document or its marks are missing.
    """
    options = create_parser().parse(arguments)
    from resnet_alexnet.study import documents, papers, tables

    if options.docs is not None:
        for path, text in documents.render(options.docs).items():
            tables.write_document(path, text)
        return
    known = sorted({number.model for number in papers.NUMBERS if " " not in number.model})
    for model in options.models:
        check_name("MODEL", model, known)
    numbers = [number for number in papers.NUMBERS if number.model in options.models or not options.models]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    print("\n".join(tables.align(documents.number_rows(numbers), width)))


if __name__ == "__main__":
    run(main)
