"""Trains a network: python -m resnet_alexnet.main --config=quickstart --workdir=runs/quickstart."""

import textwrap
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, exit_at_once_with, run
from resnet_alexnet.cli.output import announce
from resnet_alexnet.errors import InputError
from resnet_alexnet.workdir import fields

if TYPE_CHECKING:
    from ml_collections import ConfigDict

_DESCRIPTION = """Trains a network, evaluates it, and writes the run to a folder.

The config comes from a recipe and says everything about the run: the network,
the data, the optimizer. Its fields can be set on the command line. An
unfinished run in the workdir is resumed, for which --workdir alone is enough."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.main", _DESCRIPTION, usage="--config=NAME --workdir=DIR [--config.FIELD=VALUE ...]"
    )
    parser.add_argument("--workdir", metavar="DIR", type=flags.path, help="the run folder, such as runs/first")
    flags.add_config(
        parser,
        "one of our recipes, such as quickstart or resnet50:torchvision; a recipe of your own, FILE.py; or the "
        "config.json of a run folder, by default that of the workdir",
    )
    group = parser.add_argument_group("the config explained", "\n".join(_explain_groups()))
    names = [group.name for group in fields.read_groups() if group.name]
    group.add_argument(
        "--fields",
        metavar="GROUP",
        nargs="?",
        const="all",
        choices=["all", *names],
        type=flags.one_of(["all", *names]),
        help="print the fields of a group, or of all, with default, unit and source; do not train",
    )
    flags.add_switch(
        group,
        "--show",
        text="print the config with what differs from the defaults marked; do not check its values or train",
    )
    parser.add_argument(
        "--profile",
        metavar="STEPS",
        type=flags.whole_number(),
        help="save a trace of this many dispatches of steps in DIR/profile, for TensorBoard or Perfetto",
    )
    flags.add_compile_cache(parser)
    flags.add_hosts(parser)
    parser.add_argument(
        "--dry_run",
        metavar="N",
        type=flags.whole_number(most=4096),
        help="print the batches, collectives and memory of the run on N devices, which need not exist; without data",
    )
    return parser


def _explain_groups() -> list[str]:
    """A line for each group of the config."""
    single, *groups = fields.read_groups()
    lines = textwrap.wrap("Besides " + ", ".join(field.name for field in single.fields) + ":", 76)
    return [*lines, ""] + [f"{group.name:<12}{group.meaning.partition('. ')[0].rstrip('.')}" for group in groups]


def read_run(options: Namespace) -> "tuple[ConfigDict, Path]":
    """The config with its overrides, locked, and the workdir.

    Raises:
        InputError: one is missing, or something is wrong with the config.
    """
    missing = "a recipe, such as --config=quickstart, unless the workdir holds a run"
    config = flags.load_config(options, missing=missing)
    if options.workdir is None:
        raise InputError("--workdir is missing: the run folder, such as --workdir=runs/first")
    return config, options.workdir


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the config, the data or the workdir.
    """
    options = create_parser().parse(arguments)
    if options.fields is not None:
        print("\n".join(fields.explain(options.fields)))
    elif options.show:
        from resnet_alexnet.workdir.config import compare, load_config

        config = flags.load_config(options, missing="the recipe to show, such as --config=quickstart")
        print("\n".join(compare(config, load_config("default"))))
    elif options.dry_run is not None:
        of_a_run = "workdir", "profile", "coordinator_address", "num_processes", "process_id", "local_device_ids"
        if given := [flag for flag in of_a_run if getattr(options, flag) is not None]:
            raise InputError(f"--{given[0]} is for a run, and --dry_run starts none: leave one of them out")
        config = flags.load_config(options, missing="the recipe to try, such as --config=quickstart")
        announce()
        from resnet_alexnet.train.dry_run import print_dry_run

        print_dry_run(config, options.dry_run)
    else:
        config, workdir = read_run(options)
        announce("reading the data")
        train(config, workdir, options)


def train(config: "ConfigDict", workdir: Path, options: Namespace) -> None:
    """Trains, as one of several processes if the flags or the cluster say so."""
    from resnet_alexnet.cli import compiled, memory
    from resnet_alexnet.parallel import hosts  # jax takes a second to import, in which Ctrl-C may come
    from resnet_alexnet.train.loop import train_and_evaluate

    processes = hosts.detect(
        options.coordinator_address, options.num_processes, options.process_id, options.local_device_ids
    )
    command = partial(train_and_evaluate, config, workdir, profile_calls=options.profile or 0, processes=processes)
    memory.keep_freed()
    if processes is None:
        compiled.keep(options.compile_cache)
        command()
    else:
        exit_at_once_with(command, host=hosts.own_name(processes))


if __name__ == "__main__":
    run(main)
