"""Runs many points of a recipe: python launch/sweep.py --sweep=configs/sweeps/X.py --workdir=DIR [--slurm].

The same as `resnet-alexnet sweep`; --help explains it.
"""

from resnet_alexnet.cli.command import run
from resnet_alexnet.sweep import main

if __name__ == "__main__":
    run(main)
