"""Linear probes and nearest neighbors at each stage: python -m resnet_alexnet.probe --workdir=runs/quickstart."""

from collections.abc import Sequence
from functools import partial

from resnet_alexnet.cli import flags, measurement
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.start import begin
from resnet_alexnet.errors import InputError

_DESCRIPTION = """Tells how well the features of each stage separate the classes.

At the output of each stage, averaged over positions, a linear classifier and
the nearest neighbors learn from the training split. The penalty of the
classifier is that with the best accuracy on the validation split."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser("python -m resnet_alexnet.probe", _DESCRIPTION, usage="(--workdir=DIR | --weights=FILE) [OPTIONS]")
    parser.add_argument(
        "--images",
        metavar="N",
        type=flags.whole_number(most=10_000_000),
        default=50_000,
        help="training images to learn from, drawn from all",
    )
    parser.add_argument(
        "--neighbors",
        metavar="K",
        type=flags.whole_number(most=1000),
        default=20,
        help="how many training images vote, those whose features have the largest cosine",
    )
    measurement.add_flags(
        parser,
        seed="the draw of training images",
        split="test or validation; by default test, or validation if there is no test",
    )
    flags.add_trained_model(parser)
    flags.add_config(parser, "a recipe that names the data; of a run, its own")
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the config, the data or the network.
    """
    options = create_parser().parse(arguments)
    if options.split == "train":
        raise InputError("--split=train: the probes learn from that split (allowed: test, validation)")
    begin(options)
    from resnet_alexnet import parallel, pretrained
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.data.sources import draw_images
    from resnet_alexnet.features import extraction, probes
    from resnet_alexnet.train import inputs

    config = flags.load_config(options, missing="the data to learn from, such as --config=quickstart")
    network = pretrained.load_network(**flags.trained_model(options), progress=progress_bar)
    read = partial(
        inputs.read_test_crops,
        config.dataset,
        preprocessing=network.spec.preprocessing,
        image_size=config.preprocess.image_size,
        progress=progress_bar,
    )
    split, source = read(split=options.split)
    sources = dict([read(split="train"), read(split="validation")]) | {split: source}
    sources["train"] = draw_images(sources["train"], options.images, seed=options.seed)
    stages, mesh = probes.find_stages(network), parallel.create_mesh()
    for layer in stages.values():
        extraction.check_memory(layer, sum(map(len, sources.values())), memory=extraction.machine_memory())
    collect = partial(extraction.collect_layers, network, layers=list(stages.values()), batch_size=options.batch_size)
    collected = {
        name: collect(source=part, mesh=mesh, progress=progress_bar, name=name) for name, part in sources.items()
    }
    layers = []
    for number, (stage, layer) in enumerate(progress_bar(stages.items(), len(stages), "stages")):
        parts = {name: probes.Examples(features[number], labels) for name, (features, labels) in collected.items()}
        found = probes.probe(
            parts["train"], parts["validation"], parts[split], num_classes=len(source.classes), k=options.neighbors
        )
        layers.append({"stage": stage, "layer": layer.name, **found})
    result = {
        "network": network.spec.model,
        "step": options.step,
        "dataset": config.dataset.name,
        "split": split,
        "images": {name: len(part) for name, part in sources.items()},
        "seed": options.seed,
        "neighbors": options.neighbors,
        "metric": "cosine of standardized features",
        "penalties": list(probes.PENALTIES),
        "stages": layers,
    }
    rows = [("images", f"{len(source):,}, {config.dataset.name} {split}; learned from {len(sources['train']):,}")]
    rows += [
        (each["stage"], f"linear {each['linear']['accuracy']:.2f} %, neighbors {each['knn']['accuracy']:.2f} %")
        for each in layers
    ]
    measurement.report(options, result, f"{network.spec.model}, accuracy of probes by stage", rows)


if __name__ == "__main__":
    run(main)
