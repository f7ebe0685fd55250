"""How many runs are done: at once, where, and on which devices."""

import shlex
from argparse import ArgumentTypeError, Namespace, _ArgumentGroup
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resnet_alexnet.cli import flags
from resnet_alexnet.errors import InputError


@dataclass(frozen=True)
class Execution:
    """How the runs are done.

    Attributes:
        jobs: how many at once.
        gpus: see `run_pool`.
        retries: how many times a run that failed is started again.
        slurm: as an array job of Slurm, not as processes here.
        slurm_options: more words for sbatch.
    """

    jobs: int = 1
    gpus: Sequence[str] = ()
    retries: int = 1
    slurm: bool = False
    slurm_options: Sequence[str] = ()


FLAGS = ("jobs", "gpus", "retries", "slurm", "slurm_options")


def add_flags(group: _ArgumentGroup, *, jobs: str) -> None:
    """Adds the flags of `read_flags`, which are None if they are not given.

    Args:
        group: of the parser.
        jobs: the default of --jobs, in words.
    """
    group.add_argument("--jobs", metavar="N", type=flags.whole_number(), help=f"runs at once (default: {jobs})")
    group.add_argument(
        "--gpus",
        metavar="ID,...",
        type=flags.list_of(_gpu),
        help="GPUs of this machine, such as 0,1,2,3; each run has one of them",
    )
    group.add_argument(
        "--retries",
        metavar="N",
        type=flags.whole_number(0, 100),
        help="how many times a run that failed is started again; by default once",
    )
    flags.add_switch(group, "--slurm", default=None, text="as an array job of Slurm, which is followed until it ends")
    group.add_argument(
        "--slurm_options",
        metavar="WORDS",
        type=_words,
        help="more options for sbatch, in quotes, with spaces between them",
    )


def given(options: Namespace, names: Sequence[str] = FLAGS) -> dict[str, Any]:
    """Those of the flags that a user gave, with their values."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def read_flags(options: Namespace, *, jobs: int = 1) -> Execution:
    """The execution that the flags of `add_flags` ask for.

    Args:
        options: of the parser.
        jobs: the default of --jobs, unless --gpus are given.

    Raises:
        InputError: a flag is given that excludes another one, or that nothing reads.
    """
    values = given(options)
    if "slurm_options" in values and not values.get("slurm"):
        raise InputError("--slurm_options is for --slurm: give it with --slurm")
    gpus = values.get("gpus", ())
    if gpus and (values.get("slurm") or values.get("jobs", len(gpus)) != len(gpus)):
        raise InputError("--gpus is one GPU for each of the --jobs, on this machine: leave --jobs and --slurm out")
    return Execution(**{"jobs": len(gpus) or jobs, **values})


def _gpu(text: str) -> str:
    if not text.strip():
        raise ArgumentTypeError("an id is empty (allowed: ids of GPUs, such as 0,1)")
    return text.strip()


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ArgumentTypeError(f"{text} (allowed: words as in a shell; {error})") from None
