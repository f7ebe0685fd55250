"""Measures the training step and the inference step of a network, ours beside torch's.

The last line of the output is one JSON object. See benchmarks/README.md.
"""

import importlib.util
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import step_lines
import step_nets
from rich.console import Console
from rich.progress import Progress
from rounds import Line, Measured, Quiet, Side, interleave
from table import comparisons_rows, print_tables, step_lines_rows, step_setup_rows

from resnet_alexnet.cli import command, flags
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import write_json
from resnet_alexnet.speed import machine

DESCRIPTION = """Measures the training step and the inference step of a network.

Ours and torch's take turns, on the same batch, with the same weights: what they
compute is compared first. The last line of the output is a JSON object."""
PARTS = ("training", "inference")
PLATFORMS = ("cpu", "gpu")


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/step.py", DESCRIPTION, usage="--model=NAME [OPTIONS]")
    parser.add_argument("--model", metavar="NAME", required=True, help=f"the network: {', '.join(step_nets.NETS)}")
    parser.add_argument(
        "--batch_size", metavar="N", type=flags.whole_number(), help="images of a step; by default that of the network"
    )
    flags.add_choice(parser, "--precision", ("float32", "bfloat16"), default="float32", text="of the arithmetic")
    flags.add_choice(parser, "--platform", PLATFORMS, default="cpu", text="where the steps run")
    kind, shown = flags.list_of(flags.one_of(PARTS)), ",".join(PARTS)
    parser.add_argument("--parts", metavar="PART,...", type=kind, default=PARTS, help=f"what to measure, of {shown}")
    parser.add_argument(
        "--rounds", metavar="N", type=flags.whole_number(), default=5, help="rounds; every line runs once in each"
    )
    parser.add_argument(
        "--seconds", metavar="N", type=flags.whole_number(0), default=3, help="least length of a turn, of the fastest"
    )
    parser.add_argument(
        "--quiet",
        metavar="N",
        type=flags.whole_number(0),
        default=0,
        help="seconds to spend, in total, on repeating turns that other processes disturbed",
    )
    parser.add_argument(
        "--cores",
        metavar="N",
        type=flags.whole_number(),
        help="cores, and threads of torch, for each line; by default all. With one, CPU times bear other work on the "
        "machine: no thread waits for another",
    )
    flags.add_switch(parser, "--quick", text="a trial: one round of one step, of two lines")
    parser.add_argument(
        "--lines",
        metavar="NAME;...",
        default="",
        help="only these lines, such as 'ours;torch'",
    )
    parser.add_argument(
        "--torch_python", metavar="FILE", default="", help="Python with torch and torchvision; by default this one"
    )
    parser.add_argument(
        "--flax_example", metavar="DIR", default="", help="a checkout of Flax's examples/imagenet, to compare too"
    )
    parser.add_argument(
        "--output",
        metavar="FILE.json",
        type=flags.output_file(".json"),
        help="also write the JSON object to this file; those in benchmarks/results are in the tables of docs/speed.md",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given = create_parser().parse(arguments)
    net = step_nets.find_net(given.model)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        setting = step_lines.Setting(
            model=given.model,
            batch_size=given.batch_size or (net.gpu_batch_size if given.platform == "gpu" else net.batch_size),
            precision=given.precision,
            platform=given.platform,
            folder=folder,
            cores=machine.cores()[-(given.cores or 0) :],
            torch_python=_find_torch(given.torch_python, console),
            flax_example=_find_example(given.flax_example, given.model),
        )
        write_batch(setting)
        write_weights(setting)
        hardware = machine.describe()
        parts = {part: _choose(step_lines.lines(setting, part), given) for part in given.parts}
        rounds, seconds = (1, 0) if given.quick else (given.rounds, given.seconds)
        measured, checks = {}, []
        for part, lines in parts.items():
            found, checked = measure(
                part, lines, setting, rounds=rounds, seconds=seconds, quiet=Quiet(given.quiet), console=console
            )
            measured |= found
            checks += checked
    results = summarize(setting, measured, checks, rounds=rounds, hardware=hardware)
    if given.output is not None:
        write_json(given.output, results)
    print_tables(Console(), step_setup_rows(results), comparisons_rows(results), step_lines_rows(results))
    print(json.dumps(results))


def write_batch(setting: step_lines.Setting) -> None:
    """Writes the batch that all lines take: random images and labels."""
    size, rng = step_nets.sizes(setting.model), np.random.default_rng(0)
    side = size["image_size"]
    np.savez(
        Path(setting.folder) / "batch.npz",
        image=rng.integers(0, 256, (setting.batch_size, side, side, 3), np.uint8),
        label=rng.integers(0, size["num_classes"], setting.batch_size).astype(np.int32),
    )


def write_weights(setting: step_lines.Setting) -> None:
    """Has torch write the weights that all lines begin with, if there is torch."""
    if setting.torch_python:
        with Side(step_lines.weights_line(setting), 0) as side:
            side.wait()


def measure(
    part: str,
    lines: list[Line],
    setting: step_lines.Setting,
    *,
    rounds: int,
    seconds: float,
    quiet: Quiet,
    console: Console,
) -> tuple[dict[str, Measured], list[str]]:
    """Measures the lines of a part. Returns them by name, and what was compared of their results."""
    checks: list[str] = []

    def check(said: Mapping[str, Mapping[str, Any]]) -> None:
        checks.extend(step_nets.check_same(said, precision=setting.precision))

    with Progress(console=console) as progress:
        task = progress.add_task(part, total=len(lines) * (rounds + 1))
        measured = interleave(
            lines,
            images=setting.images,
            rounds=rounds,
            quiet=quiet,
            tick=lambda: progress.advance(task),
            seconds=seconds,
            check=check,
        )
    return measured, checks


def summarize(
    setting: step_lines.Setting,
    measured: Mapping[str, Measured],
    checks: Sequence[str],
    *,
    rounds: int,
    hardware: Mapping[str, Any],
) -> dict[str, Any]:
    """The results as JSON values."""
    found = [row for comparison in step_lines.comparisons(setting) if (row := comparison.of(measured))]
    first = found[0] if found else {"ours": None, "peer": None, "ratio": {"median": None}}
    versions: dict[str, str] = {"python": ".".join(map(str, sys.version_info[:3]))}
    for line in measured.values():
        versions |= line.side["versions"]
    ours = [line for name, line in measured.items() if name.startswith("ours")]
    what = f"{setting.model}, batch {setting.batch_size}, {setting.precision}, {setting.platform}"
    return {
        **machine.result(
            "step", what, ours=first["ours"], peer=first["peer"], ratio=first["ratio"]["median"], n=rounds
        ),
        "settings": {name: getattr(setting, name) for name in ("model", "batch_size", "precision", "platform")}
        | {"cores": len(setting.cores)},
        "checks": list(checks),
        "comparisons": found,
        "memory": step_lines.memory_ratios(setting, measured),
        "lines": [
            {
                **line.summary(),
                **{
                    name: line.side[name] and round(line.side[name], 2)
                    for name in ("trace_seconds", "compile_seconds", "device_megabytes")
                    if name in line.side
                },
            }
            for line in measured.values()
        ],
        "hardware": {**hardware, "device": next((line.side["device"] for line in ours), None)},
        "versions": versions,
    }


def _choose(lines: list[Line], given: Any) -> list[Line]:
    """The lines to measure: those of --lines; with --quick at most ours and one of torch."""
    chosen = [name.strip() for name in given.lines.split(";") if name.strip()]
    names = {step_lines.short_name(line.name): line for line in lines}
    if unknown := [name for name in chosen if name not in names]:
        raise InputError(f"--lines={unknown[0]}: there is no such line (allowed: {'; '.join(names)})")
    lines = [names[name] for name in chosen] if chosen else lines
    return lines[:2] if given.quick else lines


def _find_torch(python: str, console: Console) -> str:
    """The Python that has torch; empty if there is none.

    Raises:
        InputError: the file does not exist.
    """
    if python and not Path(python).is_file():
        raise InputError(f"--torch_python={python} is not a file: give the Python of an environment with torch")
    if python or importlib.util.find_spec("torch"):
        return python or sys.executable
    console.print("torch is left out; to include it, see benchmarks/requirements-torch.txt and --torch_python")
    return ""


def _find_example(folder: str, model: str) -> str:
    """The checkout of Flax's example, or empty.

    Raises:
        InputError: there is no models.py, or the example does not have this network.
    """
    if not folder:
        return ""
    if not (Path(folder) / "models.py").is_file():
        raise InputError(f"--flax_example={folder} has no models.py: give the folder examples/imagenet of Flax")
    if model not in step_lines.IN_FLAX:
        raise InputError(f"--flax_example has no {model} (allowed: {', '.join(step_lines.IN_FLAX)})")
    return folder


if __name__ == "__main__":
    command.run(main)
