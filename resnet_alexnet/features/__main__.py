"""Features of a trained network at any layer: python -m resnet_alexnet.features --workdir=DIR --output=features.npz."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_alexnet.features.neighbors import draw_neighbors

USAGE = """usage: python -m resnet_alexnet.features --workdir=DIR | --weights=FILE  --output=FILE.npz [OPTIONS]

Writes what a trained network has at a layer for every image of a data set, once each and in order: `features`, float32
(images, ...), `labels`, `classes`, `names` of the images as in files of scores, and `layer`.

  --workdir    a run folder; its data is that of its config.json
  --weights    a weight file, with --config
  --step       of a run folder, which checkpoint: last (the default), best, or a step
  --config     a recipe that says which data; --config.x sets a field, such as --config.dataset.data_dir=DIR
  --output     the file to write
  --split      test, validation or train (test)
  --layer      a layer's path, such as stages.3.1.conv2.conv; with :input behind it, what goes into the layer, which for
               the layer after an activation is what came out of that. The default is the input of the last linear
               layer. To list the layers: python -m resnet_alexnet.models.summary MODEL
  --pool       mean: the mean of each map over its positions; none (the default): whole maps
  --batch_size images a step (100)

And a picture of nearest neighbors by Euclidean distance in the space of these features:

  --neighbors=FILE.png  a row is an image of the split, and behind the gap the six nearest, the nearest first, with
                         their distances; those of another class in a red frame
  --queries    rows, of as many classes as there are (8)
  --among      the split whose images are the neighbors (train)

exit codes: 0 done · 2 bad input
"""
_FLAGS = {
    **{"output": "file", "split": "split", "layer": "path", "pool": "none or mean", "batch_size": "images"},
    **{"neighbors": "picture", "queries": "rows", "among": "split"},
}
_DEFAULTS = {"split": "test", "pool": "none", "batch_size": "100", "queries": "8", "among": "train"}


def save(output: Path, split: str, source: Any, features: Any, labels: Any, *, layer: str) -> None:
    """Writes features as `.npz`, whole or not at all; InputError where they cannot be written."""
    import numpy as np

    from resnet_alexnet.data.sources import name_images
    from resnet_alexnet.files import atomic_write

    names = np.array(name_images(split, [source.where(index) for index in range(len(source))]))
    with atomic_write(output) as temporary, temporary.open("wb") as file:
        np.savez(file, features=features, labels=labels, classes=np.array(source.classes), names=names, layer=layer)


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
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.errors import InputError
    from resnet_alexnet.features import extraction
    from resnet_alexnet.train import inputs

    path, step, config, given = command.parse_trained(arguments, _FLAGS)
    flags = {**given, **{name: given[name] or value for name, value in _DEFAULTS.items()}}
    if not flags["output"]:
        raise InputError("--output is missing: the file to write, such as --output=features.npz")
    output = command.parse_output("output", flags["output"], ".npz")
    picture = command.parse_output("neighbors", flags["neighbors"], ".png") if flags["neighbors"] else None
    batch_size = command.parse_number("batch_size", flags["batch_size"], most=100_000)
    rows = command.parse_number("queries", flags["queries"], most=50)
    if config is None:
        raise InputError(
            "--config is missing: the data whose features are wanted, such as --config=configs/quickstart.py"
        )
    network = pretrained.load_network(path, step=step)
    layer = extraction.find_layer(network, flags["layer"], pool=flags["pool"])
    splits = inputs.read_splits(
        config.dataset,
        config.preprocess,
        config.augment,
        start=network.spec.preprocessing,
        progress=progress_bar,
    )
    sources = {
        name: inputs.choose_split(splits, name) for name in {flags["split"], *([flags["among"]] * bool(picture))}
    }
    extraction.check_memory(layer, sum(map(len, sources.values())), memory=extraction.machine_memory())
    mesh = parallel.create_mesh()
    collected = {
        name: (
            source,
            *extraction.collect(
                network, source, layer, batch_size=batch_size, mesh=mesh, progress=progress_bar, name=name
            ),
        )
        for name, source in sources.items()
    }
    source, features, labels = collected[flags["split"]]
    save(output, flags["split"], source, features, labels, layer=layer.name)
    print(f"wrote {output}: {' x '.join(map(str, features.shape))} at {layer.name}")
    if picture is not None:
        same = flags["split"] == flags["among"]
        draw_neighbors(collected[flags["split"]], collected[flags["among"]], picture, rows=rows, same=same)
        print(f"wrote {picture}")


if __name__ == "__main__":
    from resnet_alexnet.cli.command import exit_with

    exit_with(lambda: main(sys.argv[1:]))
