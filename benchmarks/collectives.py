"""Counts the collectives of a compiled training step on several fake devices, and their bytes.

The last line of the output is one JSON object. See benchmarks/README.md.
"""

import json
from collections.abc import Sequence
from importlib.metadata import version

from goals import COLLECTIVE_BYTES, COLLECTIVES

from resnet_alexnet.cli import command, flags
from resnet_alexnet.files import write_json
from resnet_alexnet.speed import machine

DESCRIPTION = """Counts the collectives of a compiled training step.

On fake devices, beside the bytes of parameters and running statistics. The last
line of the output is a JSON object."""


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/collectives.py", DESCRIPTION, usage="[OPTIONS]")
    parser.add_argument("--config", metavar="NAME", default="resnet50", help="the recipe")
    parser.add_argument("--devices", metavar="N", type=flags.whole_number(2), default=8, help="fake devices")
    parser.add_argument(
        "--set", metavar="FIELD=VALUE,...", type=flags.list_of(str), default=(), help="fields of the config, besides"
    )
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write the JSON object to this file"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given = create_parser().parse(arguments)
    import jax

    from resnet_alexnet import parallel
    from resnet_alexnet.train.dry_run import compile_step, create_dry_experiment
    from resnet_alexnet.workdir.config import load_overridden

    config = load_overridden(given.config, [f"--config.{field}" for field in given.set])
    experiment = create_dry_experiment(config, parallel.create_fake_devices(given.devices))
    compiled = compile_step(config, experiment)
    sent = sum(collective.bytes for collective in compiled.collectives)
    held = sum(4 * leaf.size for leaf in jax.tree.leaves(experiment.model.spec.shapes()))
    difference = round(100 * abs(sent - held) / held, 3)
    what = f"{config.model.name}, {given.devices} devices, bytes of collectives and of parameters and statistics"
    results = {
        **machine.result("collectives", what, ours=sent, peer=held, ratio=round(sent / held, 4), n=1),
        "settings": {"config": given.config, "devices": given.devices, "set": list(given.set)},
        "count": len(compiled.collectives),
        "difference_percent": difference,
        "met": len(compiled.collectives) <= COLLECTIVES and difference <= COLLECTIVE_BYTES,
        "hardware": machine.describe(),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax")},
    }
    if given.output is not None:
        write_json(given.output, results)
    print(f"{results['count']} collective(s), {sent:,} bytes; parameters and running statistics {held:,} bytes")
    print(json.dumps(results))


if __name__ == "__main__":
    command.run(main)
