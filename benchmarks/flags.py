"""Tries XLA's flags for GPUs on a recipe's training step, each in a process of its own: an unknown flag aborts it.

The last line of the output is one JSON object. See benchmarks/README.md.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from table import Rows, print_tables

from resnet_alexnet.cli import command, flags
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json, write_json
from resnet_alexnet.speed import machine
from resnet_alexnet.speed.windows import format_spread

DESCRIPTION = """Tries XLA's flags for GPUs on a recipe's training step.

Each flag alone, beside the step without it, in processes of their own. The last
line of the output is a JSON object."""
# Source: the flags that jaxlib 0.10.2 and 0.12 both know and that concern one device; the first is worth the most.
FLAGS = (
    "--xla_gpu_experimental_enable_conv_fusion=true",
    "--xla_gpu_triton_gemm_any=true",
    "--xla_gpu_enable_command_buffer=",
    "--xla_gpu_cudnn_gemm_fusion_level=2",
    "--xla_gpu_force_conv_nhwc=true",
    "--xla_gpu_strict_conv_algorithm_picker=false",
    "--xla_gpu_enable_latency_hiding_scheduler=true",
    "--xla_gpu_command_buffer_unroll_loops=true",
    "--xla_gpu_exclude_nondeterministic_ops=true",
    "--xla_gpu_autotune_level=0",
)


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/flags.py", DESCRIPTION, usage="[OPTIONS]")
    parser.add_argument("--config", metavar="NAME", default="resnet50:torchvision", help="the recipe")
    parser.add_argument(
        "--set", metavar="FIELD=VALUE,...", type=flags.list_of(str), default=(), help="fields of the config, besides"
    )
    parser.add_argument(
        "--flags", metavar="FLAG;...", default=";".join(FLAGS), help="the flags to try, with semicolons between"
    )
    parser.add_argument("--windows", metavar="N", type=flags.whole_number(), default=5, help="measurements of each")
    flags.add_switch(parser, "--quick", text="a trial on small arrays")
    parser.add_argument(
        "--budget", metavar="SECONDS", type=flags.whole_number(), default=600, help="after which no flag is begun"
    )
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given, console = create_parser().parse(arguments), Console(stderr=True)
    deadline, words = time.monotonic() + given.budget, [f"--config.{field}" for field in given.set]
    called = [f"--config={given.config}", "--inference=false", f"--windows={given.windows}", *words]
    called += ["--quick", "--seconds=0"] if given.quick else ["--seconds=1"]
    console.print("without a flag")
    plain = measure("", called, given.budget)
    if "error" in plain:
        raise InputError(f"the step without a flag cannot be measured: {plain['error']}")
    tried: list[dict[str, Any]] = []
    for flag in filter(None, given.flags.split(";")):
        left = deadline - time.monotonic()
        if left <= 0:
            tried.append({"flag": flag, "error": "not tried: the time is up"})
            continue
        console.print(flag)
        tried.append({"flag": flag, **measure(flag, called, left)})
    results = summarize(plain, tried, n=given.windows)
    if given.output is not None:
        write_json(given.output, results)
    print_tables(Console(), rows(results))
    print(json.dumps(results))


def measure(flag: str, words: Sequence[str], seconds: float) -> dict[str, Any]:
    """The throughput and the time to compile with a flag; or the "error" that ended the process."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        environment = {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()}
        called = [sys.executable, "-m", "resnet_alexnet.benchmark", *words, f"--output={output}"]
        root = Path(__file__).parents[1]
        try:
            ended = subprocess.run(
                called, cwd=root, env=environment, capture_output=True, text=True, errors="replace", timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return {"error": "not done in time"}
        if ended.returncode:
            unknown = "Unknown flag" in ended.stderr
            last = (ended.stderr.strip().splitlines() or ["it printed no error"])[-1]
            return {"error": "this jaxlib does not know it" if unknown else f"code {ended.returncode}: {last[:200]}"}
        results = read_json(output)
    training = results["steps"]["training"]
    return {
        "images_per_second": training["images_per_second"],
        "compile_seconds": training["compile_seconds"],
        "around": {name: results[name] for name in ("hardware", "versions")},
    }


def summarize(plain: dict[str, Any], tried: Sequence[dict[str, Any]], *, n: int) -> dict[str, Any]:
    """The results as JSON values; "ours" is that of the best flag, the peer is the step without."""
    around, base = plain.pop("around"), plain["images_per_second"]["median"]
    for each in tried:
        each.pop("around", None)
        if "error" not in each:
            each["ratio"] = round(each["images_per_second"]["median"] / base, 3)
    best = max((each["ratio"] for each in tried if "ratio" in each), default=None)
    head = machine.result(
        "flags",
        "training step with the best flag and without one, images/s",
        ours=best and float(f"{best * base:.4g}"),
        peer=base,
        ratio=best,
        n=n,
    )
    return {**head, "plain": plain, "flags": list(tried), **around}


def rows(results: dict[str, Any]) -> Rows:
    """The table of the flags."""
    header = ("flag", "images/s, median (min to max)", "ratio", "compile, s")
    table = [header]
    for each in ({"flag": "none", "ratio": 1.0, **results["plain"]}, *results["flags"]):
        if "error" in each:
            table.append((each["flag"], each["error"], "", ""))
        else:
            spread = format_spread(each["images_per_second"])
            table.append((each["flag"], spread, f"{each['ratio']:g}", f"{each['compile_seconds']:g}"))
    return table


if __name__ == "__main__":
    command.run(main)
