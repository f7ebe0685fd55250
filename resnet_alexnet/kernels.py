"""A picture of a network's first kernels: python -m resnet_alexnet.kernels --workdir=DIR --output=kernels.png."""

import sys
from collections.abc import Sequence

USAGE = """usage: python -m resnet_alexnet.kernels --workdir=DIR | --weights=FILE  [--output=kernels.png] [--step=STEP]

Draws the kernels of the first convolution of a trained network, as figure 3 of the AlexNet paper does; those of a
net of two towers in two blocks. A weight of 0 is gray; each kernel is scaled by itself, so that its weight that is
largest in size is black or white.

  --workdir  a run folder
  --weights  a weight file
  --step     of a run folder, which checkpoint: last (the default), best, or a step
  --output   the picture to write (kernels.png)

exit codes: 0 done · 2 bad input
"""


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: anything that is not as USAGE says.
    """
    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return
    from resnet_alexnet import pretrained
    from resnet_alexnet.cli import command
    from resnet_alexnet.features.kernels import draw_kernels

    path, step, _, flags = command.parse_trained(arguments, {"output": "picture"})
    output = command.parse_output("output", flags["output"] or "kernels.png", ".png")
    draw_kernels(pretrained.load_network(path, step=step), output)
    print(f"wrote {output}")


if __name__ == "__main__":
    from resnet_alexnet.cli.command import exit_with

    exit_with(lambda: main(sys.argv[1:]))
