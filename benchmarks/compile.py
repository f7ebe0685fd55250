"""Measures what it takes to compile the training step, from nothing and from the persistent cache, against depth.

Each measurement is a process of its own (compile_ours.py). The last line of the output is one JSON object. See
benchmarks/README.md.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from goals import CACHED_PERCENT, COMPILE_SECONDS
from rich.console import Console
from table import Rows, print_tables

from resnet_alexnet.cli import command, flags
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import write_json
from resnet_alexnet.speed import machine

DESCRIPTION = """Measures the time to compile the training step, against depth.

Cold, and again in a second process that finds the program in the persistent
cache. The last line of the output is a JSON object."""
MODELS = ("cifar_resnet20", "cifar_resnet56", "cifar_resnet110", "resnet50", "resnet152", "cifar_resnet1202")
STAGES = ("import", "trace", "compile", "initialize")


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/compile.py", DESCRIPTION, usage="[--model=NAME,...] [OPTIONS]")
    parser.add_argument(
        "--model", metavar="NAME,...", type=flags.list_of(str), default=MODELS, help="the networks, any of the package"
    )
    parser.add_argument(
        "--batch_size", metavar="N", type=flags.whole_number(), default=16, help="images of a step; matters little"
    )
    parser.add_argument("--rounds", metavar="N", type=flags.whole_number(), default=3, help="measurements of each")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=flags.whole_number(), default=300, help="after which a process is stopped"
    )
    parser.add_argument(
        "--set", metavar="FIELD=VALUE,...", type=flags.list_of(str), default=(), help="fields of the config, besides"
    )
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given, console = create_parser().parse(arguments), Console(stderr=True)
    hardware, nets = machine.describe(), []
    for model in given.model:
        found: list[tuple[dict[str, Any], dict[str, Any]] | None] = []
        for number in range(given.rounds):
            console.print(f"{model}: {number + 1} of {given.rounds}")
            found.append(measure(model, given.batch_size, given.set, given.timeout))
            if found[-1] is None:
                break
        nets.append(summarize(model, [pair for pair in found if pair], timeout=given.timeout))
    results = {
        **machine.result("compile", "training step", **_first(nets), n=given.rounds),
        "settings": {"batch_size": given.batch_size, "timeout": given.timeout, "set": list(given.set)},
        "nets": nets,
        "hardware": hardware,
        "versions": next((net["versions"] for net in nets if "versions" in net), {}),
    }
    if given.output is not None:
        write_json(given.output, results)
    print_tables(Console(), rows(results))
    print(json.dumps(results))


def measure(
    model: str, batch_size: int, fields: Sequence[str], timeout: float
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Compiles twice, the second time with the cache of the first; None if a process takes too long."""
    with tempfile.TemporaryDirectory() as cache:
        options = {"model": model, "batch_size": batch_size, "fields": list(fields)}
        first = _run(options, Path(cache), timeout)
        second = first and _run(options, Path(cache), timeout)
    return (first, second) if first and second else None


def _run(options: Mapping[str, Any], cache: Path, timeout: float) -> dict[str, Any] | None:
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    called = [sys.executable, str(Path(__file__).with_name("compile_ours.py")), json.dumps(options)]
    try:
        result = subprocess.run(called, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return None
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["it printed no error"])[-1]
        raise InputError(f"compiling {options['model']} ended with code {result.returncode}: {reason}")
    return json.loads(result.stdout.splitlines()[-1])


def summarize(
    model: str, found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], *, timeout: float
) -> dict[str, Any]:
    """The medians of the pairs of a cold and a cached process, as JSON values."""
    if not found:
        goal = COMPILE_SECONDS.get(model)
        return {"model": model, "timeout": timeout, "goal": goal, "met": None if goal is None else False}
    cold, cached = (
        {stage: round(statistics.median(pair[which][stage] for pair in found), 2) for stage in STAGES}
        for which in (0, 1)
    )
    seconds, goal = cold["trace"] + cold["compile"], COMPILE_SECONDS.get(model)
    percent = {
        "compile": round(100 * cached["compile"] / cold["compile"], 1),
        "both": round(100 * (cached["trace"] + cached["compile"]) / seconds, 1),
    }
    return {
        "model": model,
        "cold": cold,
        "cached": cached,
        "seconds": round(seconds, 2),
        "goal": goal,
        "met": None if goal is None else seconds <= goal,
        "cached_percent": percent,
        "cached_met": {name: percent[name] <= most for name, most in CACHED_PERCENT.items()},
        "versions": found[0][0]["versions"],
    }


def _first(nets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Cold and cached seconds of the first network that compiled, for the head of the results."""
    for net in nets:
        if "cold" in net:
            cached = net["cached"]["trace"] + net["cached"]["compile"]
            return {"ours": round(cached, 2), "peer": net["seconds"], "ratio": round(net["seconds"] / cached, 2)}
    return {"ours": None, "peer": None, "ratio": None}


def rows(results: Mapping[str, Any]) -> Rows:
    """The table of the networks."""
    header = (
        *("network", "trace, s", "compile, s", "both, s", "goal, s", ""),
        *("cached: trace, s", "compile, s", "compile, % of cold", "both, % of cold", "initialize, cold and cached, s"),
    )
    table = [header]
    for net in results["nets"]:
        goal = "" if net["goal"] is None else f"{net['goal']:g}"
        met = {True: "reached", False: "missed", None: ""}[net["met"]]
        if "cold" not in net:
            table.append((net["model"], "", "", f"over {net['timeout']:g}", goal, met, "", "", "", "", ""))
            continue
        cold, cached, percent = net["cold"], net["cached"], net["cached_percent"]
        table.append(
            (
                *(net["model"], f"{cold['trace']:g}", f"{cold['compile']:g}", f"{net['seconds']:g}", goal, met),
                *(f"{cached['trace']:g}", f"{cached['compile']:g}", f"{percent['compile']:g}", f"{percent['both']:g}"),
                f"{cold['initialize']:g}, {cached['initialize']:g}",
            )
        )
    return table


if __name__ == "__main__":
    command.run(main)
