"""Runs many points of a recipe: python -m resnet_alexnet.sweep --sweep=weight_decay --workdir=runs/weight_decay."""

from argparse import Namespace
from collections.abc import Sequence

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.errors import InputError
from resnet_alexnet.study.execution import FLAGS, add_flags, given, read_flags

_PLAN = ("rungs", "reduction_factor", "reuse")
_DESCRIPTION = """Runs a recipe with many settings, and compares the results.

A sweep is a Python file with a function sweep() that yields the points: dicts
from fields of the config to values. Each point is a run in a folder of the
workdir. The same command continues a sweep: runs that are finished are kept,
and those that stopped or failed go on. No run sees the test split."""


def create_parser() -> Parser:
    """The flags of the command. Those of runs are None if they are not given, so that they can be refused."""
    parser = Parser("python -m resnet_alexnet.sweep", _DESCRIPTION, usage="--sweep=NAME --workdir=DIR [OPTIONS]")
    parser.add_argument(
        "--sweep",
        metavar="NAME",
        type=flags.path_text,
        required=True,
        help="one of our sweeps, or a file of your own, such as --sweep=weight_decay",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        type=flags.path,
        required=True,
        help="the folder of the sweep, such as --workdir=runs/weight_decay",
    )
    flags.add_config(
        parser, "a recipe instead of the one that the sweep names; the fields below are those of all points"
    )
    group = parser.add_argument_group("how it runs")
    add_flags(group, jobs="one, or one a GPU")
    flags.add_switch(group, "--print", text="print the commands of the runs that are not finished; do not run them")
    flags.add_switch(group, "--collect", text="only collect the results so far")
    _add_plan(parser)
    return parser


def _add_plan(parser: Parser) -> None:
    group = parser.add_argument_group("what it runs")
    group.add_argument(
        "--rungs",
        metavar="STEPS,...",
        type=flags.list_of(flags.whole_number()),
        help="after so many steps stop the worse settings (successive halving)",
    )
    group.add_argument(
        "--reduction_factor",
        metavar="N",
        type=flags.whole_number(2),
        help="at each rung one of this many settings goes on; by default 2",
    )
    flags.add_switch(
        group,
        "--reuse",
        default=None,
        text="take finished runs with the same config from the folders beside the workdir; by default true, but false "
        "with --rungs",
    )
    flags.add_switch(group, "--test_winner", text="at the end, test the setting with the lowest validation error, once")


def _check_together(options: Namespace) -> None:
    """Raises InputError if a flag is given that excludes another one, or that nothing reads."""
    kinds = [name for name in ("print", "collect", "test_winner") if getattr(options, name)]
    if len(kinds) > 1:
        raise InputError(f"{' and '.join(f'--{name}' for name in kinds)} exclude each other: give one of them")
    values = given(options, (*FLAGS, *_PLAN))
    if values and (options.print or options.collect):
        raise InputError(f"--{next(iter(values))} is for runs, and --{kinds[0]} starts none: leave one of them out")
    if "reduction_factor" in values and not values.get("rungs"):
        raise InputError("--reduction_factor is for --rungs: give it with --rungs")
    if "reuse" in values and "rungs" in values:
        raise InputError("--reuse is not for --rungs, with which no runs of other sweeps are taken: leave it out")


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the sweep or the workdir.
        TrainingError: some runs failed, or tests of the winner.
        InterruptedRunError: a signal came; the runs have saved.
    """
    options = create_parser().parse(arguments)
    _check_together(options)
    execution = read_flags(options)
    from resnet_alexnet.study.collect import collect
    from resnet_alexnet.study.points import read_sweep
    from resnet_alexnet.study.sweep import Plan, check_sweep_folder, print_commands, run_sweep

    sweep = read_sweep(options.sweep, base=options.config, overrides=options.overrides)
    if options.print:
        check_sweep_folder(sweep, options.workdir)
        print_commands(sweep, options.workdir)
    elif options.collect:
        if not options.workdir.is_dir():
            raise InputError(f"--workdir={options.workdir}: no such folder: run the sweep first, without --collect")
        check_sweep_folder(sweep, options.workdir)
        print("\n".join(collect(sweep, options.workdir)))
    else:
        plan = Plan(**given(options, _PLAN), test_winner=options.test_winner)
        run_sweep(sweep, options.workdir, execution, plan)


if __name__ == "__main__":
    run(main)
