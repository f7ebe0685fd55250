"""Measures how long commands take to say something and to be of use: help, one prediction, the quickstart's first step.

Each start is a process of its own. Those that compile are measured cold, with an empty compilation cache, and cached.
The last line of the output is one JSON object. See benchmarks/README.md.
"""

import contextlib
import json
import os
import pty
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from goals import STARTUP_SECONDS
from rich.console import Console
from table import Rows, print_tables

from resnet_alexnet.cli import command, flags
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import write_json
from resnet_alexnet.speed import machine
from resnet_alexnet.speed.windows import format_spread, spread

DESCRIPTION = """Measures how long commands take until they are of use.

Until the first line, and until the help, the prediction of one photograph or
the first step's metrics. The last line of the output is a JSON object."""
ROOT = Path(__file__).parents[1]
POLL_SECONDS = 0.005


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/startup.py", DESCRIPTION, usage="[OPTIONS]")
    parser.add_argument("--model", metavar="NAME", default="resnet50", help="the network that predicts")
    parser.add_argument("--rounds", metavar="N", type=flags.whole_number(), default=5, help="starts of each")
    parser.add_argument(
        "--set", metavar="FIELD=VALUE,...", type=flags.list_of(str), default=(), help="fields of the quickstart"
    )
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given, console = create_parser().parse(arguments), Console(stderr=True)
    hardware, found = machine.describe(), {}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        write_weights(given.model, weights)
        for number in range(given.rounds):
            console.print(f"round {number + 1} of {given.rounds}")
            for name, times in measure(Path(folder), weights, given.set):
                found.setdefault(name, []).append(times)
    results = summarize(found, given.model, n=given.rounds) | {
        "hardware": hardware,
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax")},
    }
    if given.output is not None:
        write_json(given.output, results)
    print_tables(Console(), rows(results))
    print(json.dumps(results))


def write_weights(model: str, path: Path) -> None:
    """Writes a weight file of a network with random weights, in a process of its own."""
    code = f"""
import numpy as np
from pathlib import Path
from resnet_alexnet.pretrained import network, torchvision, weights
layout = torchvision.layout({model!r}, 224)
classes = 10 if layout.cifar else 1000
preprocessing = torchvision.preprocessing(cifar=layout.cifar, num_classes=classes)
spec = network.ModelSpec({model!r}, dict(layout.options), classes, "softmax", preprocessing)
rng, leaves = np.random.default_rng(0), {{}}
for name, shape in network.shapes_of(spec.shapes()).items():
    scale = np.prod(shape[:-1]) ** -0.5 if len(shape) > 1 else 0.1
    values = rng.standard_normal(shape, np.float32) * np.float32(scale)
    leaves[name] = 1 + abs(values) if name.endswith(("/var", "/scale")) else values
weights.save(network.from_leaves(spec, leaves, where="random"), Path({str(path)!r}))
"""
    _run([sys.executable, "-c", code], {})


def measure(folder: Path, weights: Path, fields: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yields the times of each command once."""
    python = [sys.executable, "-m"]
    yield "help", start([*python, "resnet_alexnet.main", "--help"], {})
    predict = [*python, "resnet_alexnet.predict", f"--weights={weights}", str(ROOT / "docs" / "photos" / "bag.png")]
    train = [*python, "resnet_alexnet.main", "--config=quickstart", "--config.log.every_steps=1"]
    train += [f"--config.{field}" for field in fields]
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        environment = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        yield "predict, cold", start(predict, environment)
        yield "predict, cached", start(predict, environment)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        environment = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        for name in ("quickstart", "quickstart, cached"):
            workdir = Path(tempfile.mkdtemp(dir=folder)) / "run"
            file = workdir / "metrics.jsonl"
            called = [*train, f"--workdir={workdir}"]
            yield name, start(called, environment, until=lambda file=file: _has_metrics(file))


def _has_metrics(file: Path) -> bool:
    """Whether a run has written the metrics of a step."""
    return file.exists() and b'"train/loss"' in file.read_bytes()


def start(
    called: Sequence[str], environment: Mapping[str, str], *, until: Callable[[], bool] | None = None
) -> dict[str, float]:
    """Runs a command on a terminal of its own, as a user does.

    Returns:
        The seconds until its first output, and until `until` holds or the command ends.

    Raises:
        InputError: the command fails.
    """
    terminal, end = pty.openpty()
    os.set_blocking(terminal, False)
    started, times, output = time.perf_counter(), {}, b""
    process = subprocess.Popen(called, cwd=ROOT, env=_environment(environment), stdin=end, stdout=end, stderr=end)
    try:
        while "done" not in times:
            ended = process.poll() is not None
            with contextlib.suppress(BlockingIOError):
                output += os.read(terminal, 1 << 16)
            now = time.perf_counter() - started
            if output:
                times.setdefault("first line", now)
            if until() if until else ended:
                times["done"] = now
            elif ended:
                break
            time.sleep(POLL_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(end)
        os.close(terminal)
    if "done" not in times or (until is None and process.returncode):
        reason = (output.decode(errors="replace").strip().splitlines() or ["it printed no error"])[-1]
        raise InputError(f"{' '.join(called[1:4])} ended with code {process.returncode}: {reason}")
    return {"first line": times["done"], **times}


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "TERM": "xterm-256color", **changes}


def _run(called: Sequence[str], environment: Mapping[str, str]) -> None:
    result = subprocess.run(called, cwd=ROOT, env=_environment(environment), capture_output=True, text=True)
    if result.returncode:
        raise InputError(f"the weights cannot be written: {(result.stderr.strip().splitlines() or ['no error'])[-1]}")


def summarize(found: Mapping[str, Sequence[Mapping[str, float]]], model: str, *, n: int) -> dict[str, Any]:
    """The results as JSON values."""
    starts = []
    for name, times in found.items():
        for what in ("first line", "done"):
            seconds, goal = spread([each[what] for each in times]), STARTUP_SECONDS.get((name, what))
            met = None if goal is None else seconds["median"] <= goal
            starts.append({"name": name, "until": what, "seconds": seconds, "goal": goal, "met": met})
    medians = {(row["name"], row["until"]): row["seconds"]["median"] for row in starts}
    ours, peer = (medians.get((name, "done")) for name in ("predict, cached", "predict, cold"))
    ratio = peer / ours if ours and peer else None
    what = f"seconds until a command is of use; {model} predicts, cached and cold"
    head = machine.result("startup", what, ours=ours, peer=peer, ratio=ratio and round(ratio, 2), n=n)
    return head | {"starts": starts}


def rows(results: Mapping[str, Any]) -> Rows:
    """The table of the starts."""
    header = ("command", "until", "s, median (min to max)", "goal, s", "")
    return [
        header,
        *(
            (
                *(row["name"], row["until"], format_spread(row["seconds"])),
                "" if row["goal"] is None else f"{row['goal']:g}",
                {True: "reached", False: "missed", None: ""}[row["met"]],
            )
            for row in results["starts"]
        ),
    ]


if __name__ == "__main__":
    command.run(main)
