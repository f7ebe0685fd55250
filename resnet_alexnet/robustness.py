"""Errors on corrupted images: python -m resnet_alexnet.robustness --workdir=runs/quickstart."""

from collections.abc import Sequence

from resnet_alexnet.cli import flags, measurement
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.start import begin

_DESCRIPTION = """Tests a trained network on corrupted images.

The corruptions are noise, blur, JPEG, low contrast and a shift, at five
severities each. They depend on --seed and the number of the image alone. What
is corrupted is the crop that the network sees. Lengths grow with its size."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser(
        "python -m resnet_alexnet.robustness", _DESCRIPTION, usage="(--workdir=DIR | --weights=FILE) [OPTIONS]"
    )
    measurement.add_flags(parser, seed="the corruptions")
    flags.add_trained_model(parser)
    flags.add_config(parser, "a recipe that names the data; of a run, its own")
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the config, the data or the network.
    """
    options = create_parser().parse(arguments)
    begin(options)
    from resnet_alexnet import parallel, pretrained
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.evaluate.robustness import measure_robustness
    from resnet_alexnet.train import inputs

    config = flags.load_config(options, missing="the data to corrupt, such as --config=quickstart")
    network = pretrained.load_network(**flags.trained_model(options), progress=progress_bar)
    split, source = inputs.read_test_crops(
        config.dataset,
        options.split,
        network.spec.preprocessing,
        image_size=config.preprocess.image_size,
        progress=progress_bar,
    )
    found = measure_robustness(
        network,
        source,
        seed=options.seed,
        batch_size=options.batch_size,
        precision=config.precision,
        mesh=parallel.create_mesh(),
        progress=progress_bar,
    )
    result = {
        "network": network.spec.model,
        "step": options.step,
        "dataset": config.dataset.name,
        "split": split,
        "seed": options.seed,
        **found,
    }
    rows = [("images", f"{len(source):,}, {config.dataset.name} {split}"), ("clean", _errors([found["clean"]]))]
    rows += [
        (name, f"{_errors(each['severities'])}, mean {each['mean_error']:.2f} %")
        for name, each in found["corruptions"].items()
    ]
    rows.append(("mean", f"{found['mean_error']:.2f} %"))
    measurement.report(options, result, f"{network.spec.model}, top-1 error by severity of the corruption", rows)


def _errors(results: Sequence[dict]) -> str:
    return "  ".join(f"{result['top1_error']:.2f}" for result in results) + " %"


if __name__ == "__main__":
    run(main)
