"""Features of a trained network at any layer: python -m resnet_alexnet.features --workdir=DIR --output=features.npz."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.start import begin

_DESCRIPTION = """Writes the features of a split at a layer of a trained network.

The file holds an entry for each image, in order: features, float32 (images,
...), labels, and names of the images; and classes and layer. With --neighbors
also draws nearest neighbors by Euclidean distance between features: a row is an
image of the split and, behind the gap, its six nearest with their distances,
the nearest first; those of another class in a red frame."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.features",
        _DESCRIPTION,
        usage="(--workdir=DIR | --weights=FILE) --output=FILE.npz [OPTIONS]",
    )
    flags.add_output(parser, ".npz", text="the file to write, such as --output=features.npz")
    parser.add_argument(
        "--split",
        metavar="NAME",
        default="",
        help="test, validation or train; by default test, or validation if there is no test",
    )
    parser.add_argument(
        "--layer",
        metavar="PATH",
        default="",
        help="the layer, such as stages.3.1.conv2.conv; with :input behind it, what goes into the layer, which for the "
        "layer after an activation is the output of that. By default the input of the last linear layer. "
        "`python -m resnet_alexnet.models.summary MODEL` lists the layers",
    )
    flags.add_choice(
        parser,
        "--pool",
        ("none", "mean"),
        default="none",
        text="mean: of each map over its positions; none: whole maps",
    )
    most = flags.whole_number(most=100_000)
    parser.add_argument("--batch_size", metavar="N", type=most, default=100, help="images per step")
    flags.add_compile_cache(parser)
    flags.add_trained_model(parser)
    flags.add_config(parser, "a recipe that names the data; of a run, its own")
    group = parser.add_argument_group("nearest neighbors")
    group.add_argument("--neighbors", metavar="FILE.png", type=flags.output_file(".png"), help="the picture to write")
    rows = flags.whole_number(most=50)
    group.add_argument("--queries", metavar="N", type=rows, default=8, help="rows, of as many classes as there are")
    group.add_argument("--among", metavar="NAME", default="train", help="the split whose images are the neighbors")
    return parser


def save(output: Path, split: str, source: Any, features: Any, labels: Any, *, layer: str) -> None:
    """Writes features as `.npz`, whole or not at all; InputError where they cannot be written."""
    import numpy as np

    from resnet_alexnet.data.photos import name_images
    from resnet_alexnet.files import atomic_write

    names = np.array(name_images(split, [source.where(index) for index in range(len(source))]))
    with atomic_write(output) as temporary, temporary.open("wb") as file:
        np.savez(file, features=features, labels=labels, classes=np.array(source.classes), names=names, layer=layer)


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the config, the data or the network.
    """
    options = create_parser().parse(arguments)
    begin(options)
    from resnet_alexnet import parallel, pretrained
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.features import extraction
    from resnet_alexnet.train import inputs

    config = flags.load_config(options, missing="the data whose features to write, such as --config=quickstart")
    network = pretrained.load_network(**flags.trained_model(options), partial=True, progress=progress_bar)
    layer = extraction.find_layer(network, options.layer, pool=options.pool)
    read = partial(
        inputs.read_test_crops,
        config.dataset,
        preprocessing=network.spec.preprocessing,
        image_size=config.preprocess.image_size,
        progress=progress_bar,
    )
    split, source = read(split=options.split)
    sources = {split: source}
    if options.neighbors and options.among != split:
        sources |= [read(split=options.among)]
    extraction.check_memory(layer, sum(map(len, sources.values())), memory=extraction.machine_memory())
    mesh = parallel.create_mesh()
    collected = {
        name: (
            source,
            *extraction.collect(
                network, source, layer, batch_size=options.batch_size, mesh=mesh, progress=progress_bar, name=name
            ),
        )
        for name, source in sources.items()
    }
    source, features, labels = collected[split]
    save(options.output, split, source, features, labels, layer=layer.name)
    print(f"wrote {options.output}: {' x '.join(map(str, features.shape))} at {layer.name}")
    if options.neighbors is not None:
        from resnet_alexnet.features.neighbors import draw_neighbors  # here, because matplotlib takes long to import

        same = split == options.among
        draw_neighbors(collected[split], collected[options.among], options.neighbors, rows=options.queries, same=same)
        print(f"wrote {options.neighbors}")


if __name__ == "__main__":
    run(main)
