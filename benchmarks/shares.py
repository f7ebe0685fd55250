"""Shows what the time of a training step goes to, kernel by kernel, from traces of some steps on a CPU.

The last line of the output is one JSON object. See benchmarks/README.md.
"""

import json
import math
import re
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import step_nets
from rich.console import Console
from table import Rows, print_tables

from resnet_alexnet.cli import command, flags
from resnet_alexnet.cli.memory import keep_freed
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import write_json
from resnet_alexnet.speed import machine

DESCRIPTION = """Shows what the time of a training step goes to, kernel by kernel.

From traces of some steps on a CPU. The last line of the output is a JSON
object."""
KINDS = (
    "convolutions and linear layers, forward",
    "gradients of their inputs",
    "gradients of their kernels",
    "sums, as of batch normalization",
    "copies in another layout",
    "all else",  # normalization, activations, additions, pooling, dropout, the optimizer
    "between kernels",
)
FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT, SUM, COPY, OTHER, BETWEEN = KINDS
PRODUCTS = (FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT)
_WARM_UP = 2  # steps
_LONGEST, _PRINTED = 300, 10  # kernels that are written, and printed
_COMPUTATION = re.compile(r"^%?(?P<name>[\w.-]+) \(.*?\{\n(?P<body>.*?)^\}", re.MULTILINE | re.DOTALL)
_INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?%?(?P<name>[\w.-]+) = (?P<type>\(.*?\)|\S+) (?P<operation>[\w-]+)\((?P<rest>.*)$", re.MULTILINE
)
_MOVES = {"parameter", "bitcast", "reshape", "copy", "transpose"}  # operations that compute nothing
_AROUND = ("while", "call", "conditional")


@dataclass(frozen=True)
class Interval:
    """A kernel of a step, from its start to its end, in nanoseconds."""

    name: str
    start: float
    end: float


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/shares.py", DESCRIPTION, usage="--model=NAME [OPTIONS]")
    parser.add_argument("--model", metavar="NAME", required=True, help="the network, such as --model=resnet50")
    parser.add_argument("--batch_size", metavar="N", type=flags.whole_number(), help="images of a step")
    parser.add_argument("--rounds", metavar="N", type=flags.whole_number(), default=5, help="steps that are traced")
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given = create_parser().parse(arguments)
    batch_size = given.batch_size or step_nets.find_net(given.model).batch_size
    hardware = machine.describe()
    keep_freed()  # as the commands do
    times, kinds = trace(given.model, batch_size, given.rounds)
    kinds |= {BETWEEN: BETWEEN}
    kernels = [
        {"kernel": name, "kind": kinds.get(name, OTHER), "ms": round(statistics.median(each), 3)}
        for name, each in times.items()
    ]
    parts = {kind: [0.0] * given.rounds for kind in KINDS}
    for name, each in times.items():
        kind = kinds.get(name, OTHER)
        parts[kind] = [sum(pair) for pair in zip(parts[kind], each, strict=True)]
    step = statistics.median(sum(column) for column in zip(*parts.values(), strict=True))
    results = {
        **machine.result(
            "shares",
            f"{given.model}, batch {batch_size}, ms of a traced training step by kind of kernel",
            ours=round(step, 1),
            peer=None,
            ratio=None,
            n=given.rounds,
        ),
        "settings": {"model": given.model, "batch_size": batch_size},
        "parts": [
            {"kind": kind, "ms": {"median": statistics.median(each), "min": min(each), "max": max(each)}}
            for kind, each in parts.items()
        ],
        "kernels": sorted(kernels, key=lambda row: -row["ms"])[:_LONGEST],
        "hardware": hardware,
        "versions": {name: version(name) for name in ("jax", "jaxlib")},
    }
    if given.output is not None:
        write_json(given.output, results)
    print_tables(Console(), part_rows(results), longest_rows(results))
    print(json.dumps(results))


def part_rows(results: Mapping[str, Any]) -> Rows:
    """The table of the kinds of kernels."""
    settings, step = results["settings"], results["ours"]
    header = (f"{settings['model']}, {settings['batch_size']} images", "ms, median (min to max)", "% of the step")
    rows = []
    for part in results["parts"]:
        ms = part["ms"]
        spread = f"{ms['median']:,.1f} ({ms['min']:,.1f} to {ms['max']:,.1f})"
        rows.append((part["kind"], spread, f"{100 * ms['median'] / step:.1f}"))
    return [header, *rows, ("the step", f"{step:,.1f}", "")]


def longest_rows(results: Mapping[str, Any]) -> Rows:
    """The table of the kernels that take longest."""
    rows = [(row["kernel"], row["kind"], f"{row['ms']:,.1f}") for row in results["kernels"][:_PRINTED]]
    return [("kernel", "kind", "ms"), *rows]


def trace(model: str, batch_size: int, steps: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Traces some training steps.

    Returns:
        The milliseconds of each kernel, and between kernels, in each step; and the kinds of the kernels.

    Raises:
        InputError: jax computes on something else than a CPU.
    """
    import jax
    from step_ours import create_with

    from resnet_alexnet.speed.steps import TrainingStep, random_batch

    if jax.default_backend() != "cpu":
        raise InputError(f"the devices are of kind {jax.default_backend()} (allowed: cpu, with JAX_PLATFORMS=cpu)")
    experiment = create_with(model, batch_size=batch_size, precision="float32")
    step = TrainingStep(experiment, random_batch(experiment, batch_size))
    step.run(_WARM_UP)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(steps):
                step.run(1)
        (file,) = Path(folder).rglob("*.xplane.pb")
        kernels = read_steps(file)
    text, weights = step.program.as_text(), experiment.model.spec.shapes()["params"]
    kinds = find_kinds(text, [leaf.shape for leaf in jax.tree.leaves(weights)])
    around = find_around(text)
    found = [divide_time(each for each in intervals if each.name not in around) for intervals in kernels]
    names = {name for each in found for name in each}
    return {name: [each[name] / 1e6 for each in found] for name in sorted(names)}, kinds


def read_steps(file: Path) -> list[list[Interval]]:
    """The kernels of each execution of a program in a trace, in the order of the executions.

    A kernel may go on in other threads after the event that starts it; a second event, "end: NAME", has the end.
    """
    import jax

    planes = jax.profiler.ProfileData.from_file(str(file)).planes
    events = (event for plane in planes if plane.name == "/host:CPU" for line in plane.lines for event in line.events)
    steps: dict[int, dict[int, Interval]] = defaultdict(dict)
    ends = {}
    for event in events:
        about, end = dict(event.stats), event.start_ns + event.duration_ns
        if event.name.startswith("end: "):
            ends[about["_c"]] = end
        elif "hlo_op" in about:
            steps[about["run_id"]][about["_p"]] = Interval(about["hlo_op"], event.start_ns, end)
    found = [
        [Interval(each.name, each.start, max(each.end, ends.get(number, 0))) for number, each in step.items()]
        for step in steps.values()
    ]
    return sorted(found, key=lambda step: min(each.start for each in step))


def divide_time(intervals: Iterable[Interval]) -> Counter[str]:
    """The time of a step in nanoseconds, divided among its kernels: those that run at one moment share it equally."""
    times: Counter[str] = Counter()
    running: Counter[str] = Counter()
    before = None
    for moment, name, change in sorted(_changes(intervals)):
        if before is not None:
            names = list(running.elements()) or [BETWEEN]
            for each in names:
                times[each] += (moment - before) / len(names)
        running[name] += change
        before = moment
    return times


def _changes(intervals: Iterable[Interval]) -> Iterator[tuple[float, str, int]]:
    for each in intervals:
        yield each.start, each.name, 1
        yield each.end, each.name, -1


def find_kinds(program: str, weights: Iterable[tuple[int, ...]]) -> dict[str, str]:
    """The kinds of the operations of a compiled program, by their names.

    The gradient of a kernel is the product, of those in the backward pass, whose result has the dimensions of weights.

    Args:
        program: the text of the compiled program.
        weights: the shapes of the parameters of the network.
    """
    # Of two towers, each has a kernel; a kernel over a whole map is one of a linear layer.
    own = [part for shape in weights if len(shape) > 1 for part in (shape, shape[1:])]
    sizes = {
        _dimensions(each) for shape in own for each in (shape, (math.prod(shape[:-1]), shape[-1])) if len(each) > 1
    }
    bodies = {found["name"]: found["body"] for found in _COMPUTATION.finditer(program)}
    kinds = {}
    for found in _INSTRUCTION.finditer(program):
        name, rest = found["name"], found["rest"]
        called = re.search(r"\bcalls=%?([\w.-]+)", rest) if found["operation"] == "fusion" else None
        inside = list(_INSTRUCTION.finditer(bodies.get(called[1], ""))) if called else [found]
        operations = {each["operation"] for each in inside}
        products = [each for each in inside if _is_product(each)]
        if products:
            shape = _dimensions(map(int, re.findall(r"\d+", products[0]["type"].partition("[")[2].partition("]")[0])))
            backward = "transpose(jvp" in rest or "op_name" not in rest
            kinds[name] = (KERNEL_GRADIENT if shape in sizes else INPUT_GRADIENT) if backward else FORWARD
        elif "reduce" in operations:
            kinds[name] = SUM
        elif operations & {"copy", "transpose"} and operations <= _MOVES:
            kinds[name] = COPY
    return kinds


def find_around(program: str) -> set[str]:
    """The names of the operations of a compiled program whose kernels are in a trace themselves: loops and calls."""
    return {each["name"] for each in _INSTRUCTION.finditer(program) if each["operation"] in _AROUND}


def _is_product(instruction: re.Match[str]) -> bool:
    """Whether an instruction is a convolution or a product of matrices, of XLA's own or of oneDNN."""
    return instruction["operation"] in ("convolution", "dot") or '"__onednn$' in instruction["rest"]


def _dimensions(shape: Iterable[int]) -> tuple[int, ...]:
    """The dimensions of an array but for those of one, in order of size: those of its transposes and reshapes too."""
    return tuple(sorted(size for size in shape if size > 1))


if __name__ == "__main__":
    command.run(main)
