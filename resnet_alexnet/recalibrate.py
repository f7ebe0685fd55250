"""Exact statistics of batch normalization: python -m resnet_alexnet.recalibrate --workdir=DIR --output=FILE."""

import sys
from collections.abc import Sequence
from functools import partial

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
    from resnet_alexnet.train import augment, inputs, recalibration, steps

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
    groups = (config.preprocess, config.augment)
    splits = inputs.read_splits(config.dataset, *groups, start=preprocessing, progress=progress_bar)
    inputs.check_classes(splits, preprocessing, name=config.dataset.name)
    if flags["views"] == "test":
        source, augmented = recalibration.with_test_crops(splits.train), augment.augment
    else:
        source = splits.train
        augmented = inputs.create_inputs(splits, *groups, start=preprocessing, progress=progress_bar).augment
    normalize = partial(preprocessing.normalize, dtype=steps.DTYPES[config.precision])
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
    errors = recalibration.error_rates(
        [network, exact], splits, batch_size=config.eval.batch_size, precision=config.precision, mesh=mesh
    )
    weights.save(exact, output)
    rows = [
        (f"{split} error", f"{before:.2f} % before, {after:.2f} % after") for split, (before, after) in errors.items()
    ]
    print_summary(f"{network.spec.model}, exact statistics of {len(source):,} images", rows)
    print(f"wrote {output}")


if __name__ == "__main__":
    from resnet_alexnet.cli.command import exit_with

    exit_with(lambda: main(sys.argv[1:]))
