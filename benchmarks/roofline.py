"""Measures how near the training step comes to what this machine's memory and arithmetic allow.

The roofline and the step are measured in one process. The last line of the output is one JSON object. See
benchmarks/README.md.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

import step_nets
from goals import ROOFLINE
from rich.console import Console
from table import Rows, print_tables

from resnet_alexnet.cli import command, flags
from resnet_alexnet.files import write_json
from resnet_alexnet.speed import machine
from resnet_alexnet.speed.windows import format_spread

DESCRIPTION = """Measures the training step beside the roofline of this machine.

The speed of copying memory and of multiplying matrices, the work of a step by
hand and by XLA's count of the compiled program, and the percentage reached."""


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/roofline.py", DESCRIPTION, usage="[--model=NAME,...] [OPTIONS]")
    parser.add_argument(
        "--model",
        metavar="NAME,...",
        type=flags.list_of(str),
        default=("resnet50",),
        help=f"the networks, of {', '.join(step_nets.NETS)}",
    )
    parser.add_argument(
        "--batch_size", metavar="N", type=flags.whole_number(), help="images of a step; by default those of the network"
    )
    flags.add_choice(parser, "--precision", ("float32", "bfloat16"), default="float32", text="of the arithmetic")
    parser.add_argument("--windows", metavar="N", type=flags.whole_number(), default=5, help="measurements of a step")
    parser.add_argument(
        "--seconds", metavar="N", type=flags.whole_number(0), default=3, help="least length of a measurement"
    )
    flags.add_switch(parser, "--quick", text="a trial on small arrays, whose percentages mean nothing")
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given = create_parser().parse(arguments)
    nets = {model: step_nets.find_net(model) for model in given.model}
    import jax

    from resnet_alexnet.speed.measure import measure

    on_gpu, found = jax.default_backend() != "cpu", []
    for model, net in nets.items():
        batch_size = given.batch_size or (net.gpu_batch_size if on_gpu else net.batch_size)
        config = step_nets.config_of(model, batch_size=batch_size, precision=given.precision)
        print(f"{model}, batch {batch_size}", file=sys.stderr)
        windows, seconds = (1, 0) if given.quick else (given.windows, given.seconds)
        found.append(measure(config, windows=windows, seconds=seconds, inference=False, quick=given.quick))
    results = summarize(found, goals=ROOFLINE if on_gpu else {})
    if given.output is not None:
        write_json(given.output, results)
    print_tables(Console(), rows(results))
    print(json.dumps(results))


def summarize(found: Sequence[dict[str, Any]], *, goals: dict[str, float]) -> dict[str, Any]:
    """The results as JSON values, from those of `measure` for each network."""
    first, nets = found[0], []
    for each in found:
        training, model = each["steps"]["training"], each["what"].partition(",")[0]
        goal = goals.get(model)
        nets.append(
            {
                "model": model,
                **each["settings"],
                "roofline": each["roofline"],
                **training,
                "goal": goal,
                "met": None if goal is None else training["percent_of_limit"] >= goal,
            }
        )
    what = f"training steps and the roofline, {first['settings']['precision']}"
    numbers = {name: first[name] for name in ("ours", "peer", "ratio", "n")}
    return {
        **machine.result("roofline", what, **numbers),
        "nets": nets,
        "hardware": first["hardware"],
        "versions": first["versions"],
    }


def rows(results: dict[str, Any]) -> Rows:
    """The table of the networks."""
    header = (
        *("network", "batch", "copy, GB/s", "product, TFLOP/s"),
        *("GFLOP for an image, by hand", "by XLA", "MB for an image, by hand", "by XLA"),
        *("limit, images/s", "images/s, median (min to max)", "% of the limit"),
    )
    return [
        header,
        *(
            (
                net["model"],
                str(net["batch_size"]),
                f"{net['roofline']['bytes_per_second'] / 1e9:,.3g}",
                f"{net['roofline']['flops_per_second'] / 1e12:,.3g}",
                f"{net['gigaflops_per_image']:,.4g}",
                f"{net['compiled_gigaflops_per_image'] or 0:,.4g}",
                f"{net['megabytes_per_image']:,.4g}",
                f"{net['compiled_megabytes_per_image'] or 0:,.4g}",
                f"{net['limit_images_per_second']:,.4g}",
                format_spread(net["images_per_second"]),
                f"{net['percent_of_limit']:g}",
            )
            for net in results["nets"]
        ),
    ]


if __name__ == "__main__":
    command.run(main)
