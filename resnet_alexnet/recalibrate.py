"""Exact statistics of batch normalization: python -m resnet_alexnet.recalibrate --workdir=DIR --output=FILE."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run

_DESCRIPTION = """Replaces the moving averages of batch normalization by exact ones.

The averages are those over the training set, as in He's published residual
networks. Writes the network, and shows its errors before and after."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.recalibrate",
        _DESCRIPTION,
        usage="(--workdir=DIR | --weights=FILE) --output=FILE [OPTIONS]",
    )
    parser.add_argument(
        "--output",
        metavar="FILE.safetensors",
        type=flags.output_file(".safetensors"),
        required=True,
        help="the weight file to write, such as --output=exact.safetensors",
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
    flags.add_trained_model(parser)
    flags.add_config(parser, "a recipe that names the data that the network was trained on; of a run, its own")
    return parser


def error_rates(networks: Sequence[Any], splits: Any, config: Any, *, mesh: Any) -> dict[str, list[float]]:
    """Top-1 errors of networks that differ in their weights alone, in percent, by the name of the split."""
    import math

    from resnet_alexnet import losses, parallel
    from resnet_alexnet.train import augmentation, state, steps
    from resnet_alexnet.train.validation import evaluate

    spec = networks[0].spec
    name = "softmax_cross_entropy" if spec.scores == "softmax" else "binary_cross_entropy_with_logits"
    step = parallel.parallel_eval_step(
        partial(
            steps.eval_step,
            graphdef=networks[0].graphdef(),
            loss=losses.create_loss(name, reduction="mean"),
            normalize=augmentation.create_normalize(config, spec.preprocessing),
            axis_name=parallel.AXIS,
        ),
        mesh,
    )
    batch_size = math.ceil(config.eval.batch_size / mesh.size) * mesh.size

    def error(network: Any, source: Any) -> float:
        trees = (parallel.replicate(tree, mesh) for tree in (network.params, network.batch_stats))
        start = state.create_state(*trees, opt_state=(), sums={})
        return evaluate(step, start, source, batch_size=batch_size, mesh=mesh)["top1_error"]

    sources = {"validation": splits.validation, "test": splits.test}
    return {
        split: [error(network, source) for network in networks]
        for split, source in sources.items()
        if source is not None
    }


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the config, the data or the network.
    """
    options = create_parser().parse(arguments)
    from resnet_alexnet import parallel, pretrained
    from resnet_alexnet.cli.progress import print_summary, progress_bar
    from resnet_alexnet.pretrained import weights
    from resnet_alexnet.train import augment, augmentation, inputs, recalibration, steps

    config = flags.load_config(options, missing="the data that the network was trained on, such as --config=quickstart")
    mesh = parallel.create_mesh()
    parallel.device_batch_size(options.batch_size, mesh, field="--batch_size")
    network = pretrained.load_network(options.workdir or options.weights, step=options.step)
    recalibration.check_has_batch_norm(network)
    preprocessing = network.spec.preprocessing
    splits = inputs.read_splits_for_model(config, preprocessing, progress=progress_bar)
    inputs.check_classes(config, splits, preprocessing)
    if not options.augment:
        source, augmented = recalibration.with_test_crops(splits.train), augment.augment
    else:
        _, covariance = inputs.read_preprocessing(config, splits, preprocessing, progress=progress_bar)
        source, augmented = splits.train, augmentation.create_augment(config, preprocessing, covariance)
    normalize = augmentation.create_normalize(config, preprocessing)
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
    errors = error_rates([network, exact], splits, config, mesh=mesh)
    weights.save(exact, options.output)
    rows = [
        (f"{split} error", f"{before:.2f} % before, {after:.2f} % after") for split, (before, after) in errors.items()
    ]
    print_summary(f"{network.spec.model}, exact statistics of {len(source):,} images", rows)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    run(main)
