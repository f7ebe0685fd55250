"""Trains a network: python -m resnet_alexnet.main --config=configs/quickstart.py --workdir=runs/quickstart."""

from typing import Any


def train(config: Any, workdir: Any) -> None:
    """See `train.train_and_evaluate`."""
    from resnet_alexnet.train.loop import (
        train_and_evaluate,  # here, because jax takes a second, in which Ctrl-C may come
    )

    train_and_evaluate(config, workdir)


if __name__ == "__main__":
    # Here, not above: the loader's worker processes import the main module too, and need none of this.
    from resnet_alexnet.cli.command import run

    run(train)
