"""Exact statistics of batch normalization: python -m resnet_alexnet.recalibrate --workdir=DIR --output=FILE."""

from collections.abc import Sequence
from functools import partial

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.start import begin
from resnet_alexnet.files import write_json

_DESCRIPTION = """Replaces batch normalization's moving averages by exact ones.

The averages are those over the training set, as in He's published residual
networks. Writes the network, and shows its errors before and after."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.recalibrate",
        _DESCRIPTION,
        usage="(--workdir=DIR | --weights=FILE) --output=FILE [OPTIONS]",
    )
    flags.add_output(parser, ".safetensors", text="the weight file to write, such as --output=exact.safetensors")
    parser.add_argument(
        "--report", metavar="FILE.json", type=flags.output_file(".json"), help="also write the errors to this file"
    )
    flags.add_switch(
        parser,
        "--augment",
        default=True,
        text="crop, flip and color the images as in training, whose statistics the weights have learned to expect, "
        "but mix none; false: preprocess them as in tests",
    )
    parser.add_argument(
        "--batch_size",
        metavar="N",
        type=flags.whole_number(most=1_000_000),
        default=256,
        help="images that are normalized together, over all devices",
    )
    flags.add_compile_cache(parser)
    flags.add_trained_model(parser)
    flags.add_config(parser, "a recipe that names the data that the network was trained on; of a run, its own")
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the config, the data or the network.
    """
    options = create_parser().parse(arguments)
    begin(options)
    from resnet_alexnet import parallel, pretrained
    from resnet_alexnet.cli.progress import print_summary, progress_bar
    from resnet_alexnet.pretrained import weights
    from resnet_alexnet.train import augment, inputs, recalibration, steps

    config = flags.load_config(options, missing="the data that the network was trained on, such as --config=quickstart")
    mesh = parallel.create_mesh()
    parallel.device_batch_size(options.batch_size, mesh, field="--batch_size")
    network = pretrained.load_network(**flags.trained_model(options), progress=progress_bar)
    recalibration.check_has_batch_norm(network)
    preprocessing = network.spec.preprocessing
    groups = (config.preprocess, config.augment)
    splits = inputs.read_splits(config.dataset, *groups, start=preprocessing, progress=progress_bar)
    inputs.check_classes(splits, preprocessing, name=config.dataset.name)
    if not options.augment:
        source, augmented = recalibration.with_test_crops(splits.train), augment.augment
    else:
        source = splits.train
        augmented = inputs.create_inputs(splits, *groups, start=preprocessing, progress=progress_bar).augment
    normalize = partial(preprocessing.normalize, dtype=steps.DTYPES[config.precision])
    exact = recalibration.recalibrate(
        network,
        source,
        preprocess=partial(steps.preprocess_batch, normalize=normalize, augment=augmented, mix=None),
        batch_size=options.batch_size,
        seed=config.seed,
        workers=config.dataset.workers,
        max_unreadable=config.dataset.max_unreadable,
        mesh=mesh,
        progress=progress_bar,
    )
    errors = recalibration.error_rates(
        [network, exact], splits, batch_size=config.eval.batch_size, precision=config.precision, mesh=mesh
    )
    weights.save(exact, options.output)
    if options.report is not None:
        write_json(
            options.report, {split: dict(zip(("before", "after"), both, strict=True)) for split, both in errors.items()}
        )
    rows = [
        (f"{split} error", f"{before:.2f} % before, {after:.2f} % after") for split, (before, after) in errors.items()
    ]
    print_summary(f"{network.spec.model}, exact statistics of {len(source):,} images", rows)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    run(main)
