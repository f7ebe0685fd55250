"""A picture of a network's first kernels: python -m resnet_alexnet.kernels --workdir=DIR --output=kernels.png."""

from collections.abc import Sequence

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.output import announce

_DESCRIPTION = """Draws the kernels of the first convolution of a trained network.

As figure 3 of the AlexNet paper does; those of a network of two towers in two
blocks. A weight of 0 is gray. Each kernel is scaled by itself, so that its
weight that is largest in size is black or white."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.kernels", _DESCRIPTION, usage="(--workdir=DIR | --weights=FILE) [OPTIONS]"
    )
    flags.add_output(parser, ".png", default="kernels.png")
    flags.add_trained_model(parser)
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags or the network.
    """
    options = create_parser().parse(arguments)
    announce()
    from resnet_alexnet import pretrained
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.features.kernels import draw_kernels

    network = pretrained.load_network(**flags.trained_model(options), partial=True, progress=progress_bar)
    draw_kernels(network, options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    run(main)
