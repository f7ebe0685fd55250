"""How a command begins that computes with a trained network or on a data set."""

from argparse import Namespace

from resnet_alexnet.cli.output import announce


def begin(options: Namespace) -> None:
    """Tells a person at a terminal that jax is imported now, and sets how compiled programs and freed memory are kept.

    Args:
        options: those of the command; --compile_cache is one of them.
    """
    announce()
    from resnet_alexnet.cli import compiled, memory  # here, so that the line comes before jax

    compiled.keep(options.compile_cache)
    memory.keep_freed()
