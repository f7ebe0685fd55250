"""Names what is in photographs: python -m resnet_alexnet.predict --workdir=runs/quickstart photo.jpg more/*.png."""

import os
import sys
from collections.abc import Sequence

USAGE = """usage: python -m resnet_alexnet.predict --workdir=DIR | --weights=FILE  PHOTO... [OPTIONS]

Names what is in photographs, with probabilities. The network knows its classes and how it wants to see a photograph: no
config is needed.

PHOTO               a file of any usual format; a folder, with all .jpg, .jpeg, .png, .webp and .bmp below it; or -, an
                    image on standard input
  --workdir=DIR     the network that a run trained
  --weights=FILE    a weight file, as python -m resnet_alexnet.pretrained.convert writes them

OPTIONS:
  --topk=N          answers a photograph (5)
  --format=FORMAT   table (the default); json, an object a line; or csv
  --picture=FILE    draw the photographs with their answers too, a PNG; the first 100
  --list=FILE       take names of photographs from a file too, one a line; - is standard input
  --step=STEP       of a run: last (the default), best by validation error, or a step's number
  --views=VIEWS     how to look at a photograph: center (the default), ten_crop, fully_convolutional
  --scales=PIXELS   with its shorter side resized to what, such as 224,256,384; default: as in training's tests
  --batch_size=N    photographs a step (64)

A photograph that cannot be read is named on standard error and the others are answered; the exit code then is 2.
exit codes: 0 done · 2 bad input
"""
_FLAGS = ("workdir", "weights", "topk", "format", "picture", "list", "step", "views", "scales", "batch_size")
_MOST_DRAWN = 100  # photographs in a picture


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: anything that is not as USAGE says; or, once all others are answered, photographs without an answer.
    """
    from resnet_alexnet import pretrained
    from resnet_alexnet.cli import command
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.errors import InputError, check_name
    from resnet_alexnet.evaluate.protocol import TestProtocol
    from resnet_alexnet.predict.classify import draw, predict
    from resnet_alexnet.predict.photographs import find_photographs
    from resnet_alexnet.predict.predictions import WRITERS

    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return
    flags, words = command.parse_words(["predict", *arguments], dict.fromkeys(_FLAGS, "see --help"))
    output = flags["format"] or "table"
    check_name("--format", output, WRITERS)
    topk = command.parse_number("topk", flags["topk"] or "5")
    batch_size = command.parse_number("batch_size", flags["batch_size"] or "64")
    protocol = TestProtocol(
        views=flags["views"] or "center",
        scales=tuple(command.parse_number("scales", word) for word in flags["scales"].split(",") if flags["scales"]),
    )
    picture = command.parse_output("picture", flags["picture"], ".png") if flags["picture"] else None
    photographs = list(find_photographs(words, flags["list"]))
    if not photographs:
        raise InputError("no photograph is named, or a folder holds none: give files, folders or -; see --help")
    if picture is not None and os.path.realpath(picture) in {os.path.realpath(file.name) for file in photographs}:
        raise InputError(f"--picture={picture} is one of the photographs: name another file")
    path = command.parse_trained_path(flags["workdir"], flags["weights"])
    network = pretrained.load_network(path, step=command.parse_step(flags["step"]))
    predictions, small = predict(
        network,
        photographs,
        protocol=protocol,
        topk=topk,
        batch_size=batch_size,
        drawn=0 if picture is None else _MOST_DRAWN,
        progress=progress_bar,
    )
    WRITERS[output](predictions, sys.stdout)
    if picture is not None and any(image is not None for image in small):
        draw(predictions, small, picture)
        print(f"wrote {picture}", file=sys.stderr)
    unanswered = [prediction for prediction in predictions if prediction.error]
    if unanswered:
        raise InputError(f"{len(unanswered)} of {len(photographs)} photographs have no answer, as said above")


if __name__ == "__main__":
    from resnet_alexnet.cli.command import exit_with

    exit_with(lambda: main(sys.argv[1:]))
