"""Runs studies: python -m resnet_alexnet.study.run --config=degradation --scale=cpu --workdir=runs/study."""

import glob
import os
import re
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.study.execution import add_flags, read_flags

if TYPE_CHECKING:
    from resnet_alexnet.study.design import Budget
    from resnet_alexnet.study.execute import Planned

REPORT = "report"  # in the folder of studies
_DESCRIPTION = """Answers the questions of the two papers by runs of your own.

A study compares settings of networks and recipes, over several seeds. This does
the runs that are missing: first those that choose a learning rate for each
setting, by validation error, then those that count. It measures them and writes
the report. The same command continues after a stop. Studies in one folder share
the runs that they have in common."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.study.run",
        _DESCRIPTION,
        usage="--config=NAME (--scale=SCALE | --budget=TIME) --workdir=DIR [OPTIONS]",
    )
    flags.add_config(parser, "a study, such as degradation, or all; the fields below are those of all runs")
    length = parser.add_mutually_exclusive_group(required=True)
    flags.add_choice(
        length,
        "--scale",
        ("smoke", "cpu", "gpu", "imagenet"),
        text="how large: smoke tries the machinery, cpu takes narrow networks on the embedded sample of Fashion-MNIST, "
        "gpu is CIFAR-10 and imagenet ImageNet, as published",
    )
    length.add_argument(
        "--budget",
        metavar="TIME",
        type=duration,
        help="for your_photographs, a study of photographs of your own: how long all its runs may take, such as 30m or "
        "2h; trial runs say how much fits",
    )
    parser.add_argument(
        "--workdir", metavar="DIR", type=flags.path, required=True, help="the folder of the studies, such as runs/study"
    )
    group = parser.add_argument_group("how it runs")
    add_flags(group, jobs="at the scales smoke and cpu one a core, else one, or one a GPU")
    flags.add_switch(group, "--print", text="print what would be run, study by study; do not run it")
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, a study or the workdir.
        TrainingError: some runs or measurements failed.
        InterruptedRunError: a signal came; the runs have saved.
    """
    options = create_parser().parse(arguments)
    execution = read_flags(options, jobs=_cores() if options.scale in ("smoke", "cpu") else 1)
    from resnet_alexnet.study.execute import check_folder, plan_studies, run_studies

    scale, budget = options.scale, None
    if options.budget is not None:
        from resnet_alexnet.study.design import PHOTOGRAPHS
        from resnet_alexnet.study.pilot import find_budget

        scale = PHOTOGRAPHS
        if options.print and not check_folder(options.workdir):
            raise InputError(
                "--print with --budget: only trial runs can say what fits (start the study without --print)"
            )
        budget = find_budget(options.config, options.overrides, options.budget, options.workdir, execution)
        print(describe_budget(budget), flush=True)
    planned = plan_studies([options.config], scale, options.overrides, budget)
    for absent in planned.absent:
        print(f"{absent.name}: not at the scale {options.scale}: {absent.reason}", flush=True)
    if options.print:
        print("\n".join(describe(planned)))
        return
    from resnet_alexnet.study.findings import read_findings
    from resnet_alexnet.study.page import write_report  # before the runs: what it needs may not be installed

    def report() -> None:
        paths = write_report(read_findings(glob.escape(str(options.workdir))), options.workdir / REPORT)
        print(f"written: {', '.join(map(str, paths))}", flush=True)

    try:
        run_studies(planned, options.workdir, execution)
    except TrainingError:  # of some runs: the report says which
        report()
        raise
    report()


def describe(planned: "Planned") -> Iterator[str]:
    """What the studies compare, and with how many runs."""
    for plan in planned.plans:
        study = plan.study
        yield f"{study.name}: {study.question}"
        for arm in study.arms:
            rates = ", ".join(f"{rate:g}" for rate in arm.learning_rates)
            about = f"ensemble of {', '.join(arm.members)}" if arm.members else f"{arm.recipe}; learning rates: {rates}"
            yield f"  {arm.name} ({about})"
        for comparison in study.comparisons:
            yield f"  claim: {comparison.claim} ({comparison.source}; margin {comparison.margin:g})"
    most = sum(plan.study.seeds for plan in planned.plans for arm in plan.study.arms if not arm.members)
    yield f"{len(planned.tuning())} runs choose learning rates; at most {most} count"


def describe_budget(budget: "Budget") -> str:
    """What fits into the time, in a sentence."""
    from resnet_alexnet.study.budget import show_time

    runs = f"{budget.seeds} run{'s' if budget.seeds > 1 else ''} of each setting"
    steps = f"{budget.num_steps:,} steps with images of {budget.image_size} pixels"
    return f"in {show_time(budget.seconds)} fit {runs}, of {steps}"


def duration(text: str) -> int:
    """Seconds, from a time such as 90s, 30m, 2h or 1h30m."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    hours, minutes, rest = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    if not (seconds := 3600 * hours + 60 * minutes + rest):
        raise ArgumentTypeError(f"{text} (allowed: a time, such as 30m, 2h or 1h30m)")
    return seconds


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    run(main)
