"""Measures the speed of a recipe's steps: python -m resnet_alexnet.benchmark --config=quickstart."""

import sys
from collections.abc import Sequence

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.output import announce

_DESCRIPTION = """Measures the speed of a recipe's training and inference step.

On random images in the shapes of the recipe's data, which is not read. Reports
images per second, the share of the roofline that this machine was measured to
have, the time to compile, and memory. The last line is one JSON object."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser("python -m resnet_alexnet.benchmark", _DESCRIPTION, usage="--config=NAME [OPTIONS]")
    flags.add_config(parser, "the recipe to measure, such as quickstart, resnet50:torchvision or FILE.py")
    parser.add_argument(
        "--windows", metavar="N", type=flags.whole_number(), default=5, help="measurements of a step, in a row"
    )
    parser.add_argument(
        "--seconds", metavar="SECONDS", type=flags.seconds, default=2.0, help="least length of a measurement"
    )
    flags.add_switch(parser, "--inference", default=True, text="also measure the inference step")
    flags.add_switch(parser, "--quick", text="a trial on small arrays, whose percentages of the roofline mean nothing")
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags or the config.
    """
    options = create_parser().parse(arguments)
    announce()
    config = flags.load_config(options, missing="a recipe, such as --config=quickstart")
    import json

    from resnet_alexnet.cli import memory
    from resnet_alexnet.cli.progress import print_summary
    from resnet_alexnet.files import write_json
    from resnet_alexnet.speed.measure import measure
    from resnet_alexnet.speed.report import tables

    memory.keep_freed()
    results = measure(
        config,
        windows=options.windows,
        seconds=options.seconds,
        inference=options.inference,
        quick=options.quick,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    for title, rows in tables(results):
        print_summary(title, rows)
    if options.output is not None:
        write_json(options.output, results)
    print(json.dumps(results))


if __name__ == "__main__":
    run(main)
