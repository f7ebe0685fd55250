"""Measures the whole training loop beside its bare step: input, logging, metrics and checkpoints on.

Both run in processes of their own (loop_ours.py), in turns. The last line of the output is one JSON object. See
benchmarks/README.md.
"""

import json
import sys
from collections.abc import Sequence

from goals import LOOP, LOOP_COMPARISON
from rich.console import Console
from rich.progress import Progress
from rounds import Comparison, Line, Quiet, interleave
from table import comparisons_rows, lines_rows, print_tables

from resnet_alexnet.cli import command, flags
from resnet_alexnet.files import write_json
from resnet_alexnet.speed import machine

DESCRIPTION = """Measures the training loop beside its bare step.

The loop logs, sums metrics, reads its input and saves checkpoints, as in the
recipe. The last line of the output is a JSON object."""


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/loop.py", DESCRIPTION, usage="[OPTIONS]")
    parser.add_argument(
        "--config", metavar="NAME", default="quickstart", help="the recipe; its data must be there, or be made up"
    )
    parser.add_argument(
        "--set", metavar="FIELD=VALUE,...", type=flags.list_of(str), default=(), help="fields of the config, besides"
    )
    parser.add_argument("--steps", metavar="N", type=flags.whole_number(2), default=140, help="steps of a turn")
    parser.add_argument("--rounds", metavar="N", type=flags.whole_number(), default=5, help="both run once in each")
    parser.add_argument(
        "--quiet",
        metavar="N",
        type=flags.whole_number(0),
        default=0,
        help="seconds to spend, in total, on repeating turns that other processes disturbed",
    )
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given, hardware = create_parser().parse(arguments), machine.describe()
    options = {"config": given.config, "fields": list(given.set), "steps": given.steps}
    # The loop is timed from its first checkpoint on; the step alone takes some steps, too, before its time begins.
    kinds = {
        "loop": ("logs, metrics, input, checkpoints", {}),
        "step": ("the step alone", {"settle": max(1, given.steps // 10)}),
    }
    lines = [
        Line(kind, "loop_ours.py", sys.executable, {**options, "kind": kind, **own}, machine.cores(), about, busy=False)
        for kind, (about, own) in kinds.items()
    ]
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("loop", total=len(lines) * (given.rounds + 1))
        measured = interleave(
            lines,
            images=given.steps,
            rounds=given.rounds,
            quiet=Quiet(given.quiet),
            tick=lambda: progress.advance(task),
            warm_up=0,  # the first round compiles
        )
    compared = Comparison(LOOP_COMPARISON, "loop", ("step",), goal=LOOP).of(measured)
    assert compared is not None
    results = {
        **machine.result(
            "loop",
            f"training loop of {given.config}, steps per second",
            ours=compared["ours"],
            peer=compared["peer"],
            ratio=compared["ratio"]["median"],
            n=given.rounds,
        ),
        "settings": options,
        "comparisons": [compared],
        "lines": [line.summary() for line in measured.values()],
        "hardware": hardware,
        "versions": measured["loop"].side["versions"],
    }
    if given.output is not None:
        write_json(given.output, results)
    print_tables(Console(), comparisons_rows(results, unit="steps"), lines_rows(results, unit="steps"))
    print(json.dumps(results))


if __name__ == "__main__":
    command.run(main)
