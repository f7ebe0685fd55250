"""Exact statistics of batch normalization: python -m resnet_alexnet.recalibrate --workdir=DIR --output=FILE."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

USAGE = """usage: python -m resnet_alexnet.recalibrate --workdir=DIR | --weights=FILE  --output=FILE [OPTIONS]

Puts exact averages over the training set in place of the moving averages that batch normalization keeps while it is
trained, as in He's published residual nets, and writes the network. Shows the errors before and after.

  --workdir    a run folder; its data is that of its config.json
  --weights    a weight file, with --config
  --step       of a run folder, which checkpoint: last (the default), best, or a step
  --config     a recipe that says which data; --config.x sets a field, such as --config.dataset.data_dir=DIR
  --output     the weight file to write, FILE.safetensors
  --views      train (the default): cropped, flipped and colored as in training, whose statistics the weights have
               learned to expect; test: as in testing. Nothing is mixed in either
  --batch_size images that are normalized together (256), over all devices

exit codes: 0 done · 2 bad input
"""
_FLAGS = {"output": "weight file", "views": "train or test", "batch_size": "images"}
_DEFAULTS = {"views": "train", "batch_size": "256"}


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
        InputError: anything that is not as USAGE says.
    """
    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return
    from resnet_alexnet import parallel, pretrained
    from resnet_alexnet.cli import command
    from resnet_alexnet.cli.progress import print_summary, progress_bar
    from resnet_alexnet.errors import InputError, check_name
    from resnet_alexnet.pretrained import weights
    from resnet_alexnet.train import augment, augmentation, inputs, recalibration, steps

    path, step, config, given = command.parse_trained(arguments, _FLAGS)
    flags = {name: given[name] or _DEFAULTS.get(name, "") for name in _FLAGS}
    if not flags["output"]:
        raise InputError("--output is missing: the weight file to write, such as --output=exact.safetensors")
    output = command.parse_output("output", flags["output"], ".safetensors")
    check_name("--views", flags["views"], ("train", "test"))
    batch_size = command.parse_number("batch_size", flags["batch_size"], most=1_000_000)
    if config is None:
        raise InputError("--config is missing: the data that the network was trained on, such as --config=FILE.py")
    mesh = parallel.create_mesh()
    parallel.device_batch_size(batch_size, mesh, field="--batch_size")
    network = pretrained.load_network(path, step=step)
    recalibration.check_has_batch_norm(network)
    preprocessing = network.spec.preprocessing
    splits = inputs.read_splits_for_model(config, preprocessing, progress=progress_bar)
    inputs.check_classes(config, splits, preprocessing)
    if flags["views"] == "test":
        source, augmented = recalibration.with_test_crops(splits.train), augment.augment
    else:
        _, covariance = inputs.read_preprocessing(config, splits, preprocessing, progress=progress_bar)
        source, augmented = splits.train, augmentation.create_augment(config, preprocessing, covariance)
    normalize = augmentation.create_normalize(config, preprocessing)
    exact = recalibration.recalibrate(
        network,
        source,
        preprocess=partial(steps.preprocess_batch, normalize=normalize, augment=augmented, mix=None),
        batch_size=batch_size,
        seed=config.seed,
        workers=config.dataset.workers,
        max_unreadable=config.dataset.max_unreadable,
        mesh=mesh,
        progress=progress_bar,
    )
    errors = error_rates([network, exact], splits, config, mesh=mesh)
    weights.save(exact, output)
    rows = [
        (f"{split} error", f"{before:.2f} % before, {after:.2f} % after") for split, (before, after) in errors.items()
    ]
    print_summary(f"{network.spec.model}, exact statistics of {len(source):,} images", rows)
    print(f"wrote {output}")


if __name__ == "__main__":
    from resnet_alexnet.cli.command import exit_with

    exit_with(lambda: main(sys.argv[1:]))
