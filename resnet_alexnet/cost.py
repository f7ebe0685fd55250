"""What training a network costs: python -m resnet_alexnet.cost --workdir=runs/quickstart."""

from collections.abc import Sequence
from statistics import median

from resnet_alexnet.cli import flags, measurement
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.output import announce

_WINDOWS = 3  # in which the step is timed
_DESCRIPTION = """Says what training a network costs: size, memory and speed.

Parameters and multiply-adds are those of the network. The memory is what the
compiled training step takes on a device: parameters, state, batch and
intermediate results. The speed is that of the step on random images, as on
resident data: without reading, evaluating and saving. No data is read."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser("python -m resnet_alexnet.cost", _DESCRIPTION, usage="(--workdir=DIR | --config=FILE) [OPTIONS]")
    parser.add_argument("--workdir", metavar="DIR", type=flags.run_folder, help="a run folder")
    parser.add_argument(
        "--output", metavar="FILE.json", type=flags.output_file(".json"), help="also write every number to this file"
    )
    parser.add_argument(
        "--seconds", metavar="SECONDS", type=flags.seconds, default=1.0, help="least length of a measurement"
    )
    flags.add_config(parser, "a recipe; of a run, its own")
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags or the config.
    """
    options = create_parser().parse(arguments)
    announce()
    import jax

    from resnet_alexnet.cli import memory
    from resnet_alexnet.models.trace import layer_calls
    from resnet_alexnet.pretrained import load_network
    from resnet_alexnet.speed.steps import TrainingStep, random_batch
    from resnet_alexnet.speed.windows import time_windows
    from resnet_alexnet.train.dry_run import create_dry_experiment
    from resnet_alexnet.train.stand_in import is_known
    from resnet_alexnet.workdir.config import run_title

    memory.keep_freed()
    config = flags.load_config(options, missing="a recipe, or --workdir, a run folder")
    config.mesh.towers = 1  # the same network on one device
    if options.workdir is not None and not is_known(config.dataset):  # what a run has read, its network knows
        seen = load_network(options.workdir).spec.preprocessing
        config.dataset.update(num_classes=len(seen.classes), channels=seen.channels, num_examples=2 * config.batch_size)
        config.preprocess.image_size = seen.image_size
    experiment = create_dry_experiment(config, jax.devices()[:1])
    spec = experiment.model.spec
    size, channels = spec.preprocessing.image_size, spec.preprocessing.channels
    calls = layer_calls(spec.abstract(), (size, size, channels))
    step = TrainingStep(experiment, random_batch(experiment, config.batch_size))
    windows = time_windows(step.run, images_per_step=step.images_per_call, windows=_WINDOWS, seconds=options.seconds)
    result = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(spec.shapes()["params"])),
        "multiply_adds": sum(call.layer.multiply_adds(call.output_shape) for call in calls),
        "memory": step.compilation.memory - step.resident_bytes,
        "images_per_second": median(window.throughput for window in windows),
        "batch_size": config.batch_size,
        "device": jax.devices()[0].device_kind,
    }
    size = f"{result['memory'] / 1e6:,.0f} MB, a step of {config.batch_size:,} images on one {result['device']}"
    rows = [
        ("parameters", f"{result['parameters']:,}"),
        ("multiply-adds", f"{result['multiply_adds']:,}, forward, one image"),
        ("memory", size),
        ("speed", f"{result['images_per_second']:,.0f} images/s, median of {_WINDOWS} windows"),
    ]
    measurement.report(options, result, run_title(config), rows)


if __name__ == "__main__":
    run(main)
