"""Names what is in photographs: python -m resnet_alexnet.predict --workdir=runs/quickstart photo.jpg more/*.png."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.start import begin
from resnet_alexnet.errors import InputError

if TYPE_CHECKING:
    from resnet_alexnet.predict.predictions import Prediction

_DESCRIPTION = """Classifies photographs with a trained network.

The network knows its classes and how it preprocesses a photograph: no config is
needed. A photograph that cannot be read is named on standard error and the
others are classified; the exit code is then 2."""
_MOST_DRAWN = 100  # photographs in a picture


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.predict",
        _DESCRIPTION,
        usage="(--workdir=DIR | --weights=FILE) PHOTOGRAPH... [OPTIONS]",
    )
    parser.add_argument(
        "photographs",
        metavar="PHOTOGRAPH",
        nargs="*",
        help="a file; a folder, with all photographs below it; or -, an image on standard input. JPEG, PNG, GIF, BMP, "
        "TIFF, WebP, AVIF, JPEG 2000 and PPM are read",
    )
    parser.add_argument(
        "--list",
        metavar="FILE",
        default="",
        help="take the names of photographs from a file too, one a line; - is standard input",
    )
    parser.add_argument(
        "--topk", metavar="N", type=flags.whole_number(), default=5, help="classes that are named for a photograph"
    )
    flags.add_choice(parser, "--format", ("table", "json", "csv"), default="table", text="json writes an object a line")
    parser.add_argument(
        "--picture",
        metavar="FILE.png",
        type=flags.output_file(".png"),
        help=f"draw the photographs with their classes too, the first {_MOST_DRAWN}",
    )
    flags.add_views(parser, default="center")
    parser.add_argument("--batch_size", metavar="N", type=flags.whole_number(), default=64, help="photographs per step")
    flags.add_max_pixels(parser)
    flags.add_compile_cache(parser)
    flags.add_trained_model(parser)
    return parser


def _note(line: str) -> None:
    print(line, file=sys.stderr)


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags or the network; or, once all others are classified, photographs
            cannot be.
    """
    options = create_parser().parse(arguments)
    begin(options)
    from resnet_alexnet import pretrained
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.data.readers.imagenet_classes import display_name
    from resnet_alexnet.evaluate.protocol import TestProtocol
    from resnet_alexnet.predict.classify import draw, predict
    from resnet_alexnet.predict.photographs import find_photographs
    from resnet_alexnet.predict.predictions import WRITERS, write_table

    photographs = list(find_photographs(options.photographs, options.list, report=_note))
    if not photographs:
        raise InputError("no photograph is named, or a folder holds none: give files, folders or -; see --help")
    if options.picture is not None and os.path.realpath(options.picture) in {
        os.path.realpath(file.name) for file in photographs
    }:
        raise InputError(f"--picture={options.picture} is one of the photographs: name another file")
    network = pretrained.load_network(**flags.trained_model(options), progress=progress_bar)
    small, drawn, failed = {}, [], 0

    def watched(predictions: "Iterable[Prediction]") -> "Iterator[Prediction]":
        nonlocal failed
        for prediction in predictions:
            failed += bool(prediction.error)
            if options.picture is not None and len(drawn) < _MOST_DRAWN:
                drawn.append(prediction)
            yield prediction

    predictions = predict(
        network,
        photographs,
        protocol=TestProtocol(views=options.views, scales=options.scales),
        topk=options.topk,
        batch_size=options.batch_size,
        max_pixels=options.max_pixels,
        small=small,
        drawn=0 if options.picture is None else _MOST_DRAWN,
    )
    write = WRITERS[options.format]
    if options.format == "table":
        classes = map(display_name, network.spec.preprocessing.classes)
        widths = (max(len(each.name) for each in photographs), max(map(len, classes)))
        write = partial(write_table, longest=widths)
    write(watched(predictions), sys.stdout)
    if options.picture is not None and small:
        draw(drawn, small, options.picture)
        print(f"wrote {options.picture}", file=sys.stderr)
    if failed:
        raise InputError(f"{failed} of {len(photographs)} photographs were not classified; the errors are above")


if __name__ == "__main__":
    run(main)
