"""Responses and gradients by layer: python -m resnet_alexnet.signals --workdir=runs/quickstart."""

import math
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_alexnet.cli import flags, measurement
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.start import begin
from resnet_alexnet.errors import InputError

if TYPE_CHECKING:
    from resnet_alexnet.features.signals import WeightLayer
    from resnet_alexnet.pretrained.network import TrainedModel
    from resnet_alexnet.train.experiment import Experiment

_DESCRIPTION = """Measures the signals in a network by layer, at steps of a run.

The standard deviation of the response of each layer is that of images in tests,
behind batch normalization and before the nonlinearity. The norm of the gradient
of its kernel is that of the training loss, of one batch as in training. Step 0
is the network before training."""

Measure = Callable[["TrainedModel"], tuple[float, list[dict[str, Any]]]]


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser("python -m resnet_alexnet.signals", _DESCRIPTION, usage="--workdir=DIR [OPTIONS]")
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        type=flags.run_folder,
        required=True,
        help="a run folder, such as --workdir=runs/quickstart",
    )
    parser.add_argument(
        "--step",
        metavar="STEP,...",
        dest="steps",
        type=flags.list_of(lambda text: text if text == "all" else flags.checkpoint_step(text)),
        default=("all",),
        help="last, best (by validation error), or the number of a step; by default all: 0 and every checkpoint",
    )
    parser.add_argument(
        "--images",
        metavar="N",
        type=flags.whole_number(most=100_000),
        default=1000,
        help="images of the split whose responses are measured",
    )
    measurement.add_flags(parser, seed="the choice of the images and of the batch, augmentation and dropout")
    flags.add_config(parser, "by default that of the run folder")
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the config, the data or the run folder.
    """
    options = create_parser().parse(arguments)
    begin(options)
    from resnet_alexnet import pretrained
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.models import model_options
    from resnet_alexnet.train import experiment as experiments
    from resnet_alexnet.workdir.folder import saved_steps

    config = flags.load_config(options, missing="the run folder has no config.json")
    config.mesh.towers = 1  # the results are those of two
    if "scan" in model_options(config.model.name):
        config.model.scan = False  # with a gradient for each block
    steps = _steps(options.steps, options.workdir, saved_steps(options.workdir))
    experiment = experiments.create_experiment(config, progress=progress_bar)
    split, images, measure = _create_measure(options, config, experiment)
    results, layers = [], []
    for step in steps:
        saved = step in saved_steps(options.workdir)
        network = pretrained.load_network(options.workdir, step=step) if saved else _untrained(experiment)
        loss, layers = measure(network)
        results.append({"step": step, "loss": _number(loss), "layers": layers})
    batch_size = config.batch_size // config.accumulate_steps
    result = {
        "network": config.model.name,
        "dataset": config.dataset.name,
        "split": split,
        "images": images,
        "batch_size": batch_size,
        "seed": options.seed,
        "steps": results,
    }
    rows = [("responses", f"standard deviation over {images:,} images, {config.dataset.name} {split}")]
    rows += [("gradients", f"L2 norm, and relative to that of the kernel; {batch_size:,} images, train")]
    rows += [(f"step {each['step']}", _summary(each)) for each in results]
    rows += [(each["layer"], _signals(each)) for each in layers]
    measurement.report(options, result, f"{config.model.name}, signals by layer, last those of step {steps[-1]}", rows)


def _steps(chosen: Sequence[int | str], workdir: Path, saved: Sequence[int]) -> list[int]:
    """The steps that --step names, in order.

    Raises:
        InputError: there is no such checkpoint.
    """
    from resnet_alexnet.workdir.metrics_log import validation_errors

    errors = validation_errors(workdir) if "best" in chosen else {}
    evaluated = sorted(errors.keys() & set(saved), key=lambda step: (errors[step], step))
    named = {"all": [0, *saved], "last": saved[-1:], "best": evaluated[:1]}
    steps = set()
    for step in chosen:
        found = named[step] if isinstance(step, str) else [step] if step in (0, *saved) else []
        if not found:
            there = ", ".join(map(str, saved))
            raise InputError(f"--step={step}: {workdir} has no such checkpoint (there are: 0, untrained, and {there})")
        steps |= set(found)
    return sorted(steps)


def _create_measure(options: Namespace, config: Any, experiment: "Experiment") -> tuple[str, int, Measure]:
    """The name of the split, the number of its images, and (network) -> the training loss and the signals by layer."""
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.data.loading import loader
    from resnet_alexnet.data.sources import draw_images
    from resnet_alexnet.features.signals import create_response_spreads, weight_layers
    from resnet_alexnet.train import experiment as experiments
    from resnet_alexnet.train import inputs
    from resnet_alexnet.train.gradient_norms import create_gradient_norms

    spec, train = experiment.model.spec, experiment.inputs.splits.train
    split, source = inputs.read_test_crops(
        config.dataset,
        options.split,
        spec.preprocessing,
        image_size=config.preprocess.image_size,
        progress=progress_bar,
    )
    source = draw_images(source, options.images, seed=options.seed)
    spreads = create_response_spreads(
        spec, source, batch_size=options.batch_size, mesh=experiment.mesh, progress=progress_bar
    )
    rows = loader.epoch_order(len(train), seed=options.seed, epoch=0)[: config.batch_size // config.accumulate_steps]
    batch = train.gather(rows, (options.seed, 0))
    weights = inputs.balanced_weights(train) if config.loss.get("class_weights") else None
    gradients = create_gradient_norms(
        experiment.model,
        {name: batch[name] for name in ("image", "label")},
        loss=experiments.create_losses(config.loss, weights)[0],
        preprocess=experiment.steps.preprocess_batch,
        seed=options.seed,
        mesh=experiment.mesh,
    )
    layers = weight_layers(spec)

    def measure(network: "TrainedModel") -> tuple[float, list[dict[str, Any]]]:
        found, (loss, norms), kernels = spreads(network), gradients(network), network.leaves()
        return loss, [_layer(layer, *found[layer.path], norms, kernels) for layer in layers]

    return split, len(source), measure


def _untrained(experiment: "Experiment") -> "TrainedModel":
    """The network before the first step."""
    from resnet_alexnet.pretrained.network import TrainedModel

    state = experiment.steps.create_state(experiment.model.start)
    return TrainedModel(experiment.model.spec, *state.evaluated())


def _layer(
    layer: "WeightLayer", mean: float, std: float, norms: dict[str, float], leaves: dict[str, Any]
) -> dict[str, Any]:
    """The signals of a layer, as JSON values."""
    name = f"{layer.path.replace('.', '/')}/kernel"
    norm, gradient = float((leaves[f"params/{name}"].astype(float) ** 2).sum()) ** 0.5, norms.get(name, math.nan)
    return {
        "index": layer.index,
        "layer": layer.path,
        "kernel_shape": list(layer.kernel_shape),
        "mean": _number(mean),
        "std": _number(std),
        "kernel_norm": _number(norm),
        "grad_norm": _number(gradient),
        "relative_grad_norm": _number(gradient / norm if norm else math.nan),
    }


def _number(value: float) -> float | None:
    """The value for JSON, which has only finite numbers."""
    return value if math.isfinite(value) else None


def _summary(result: dict[str, Any]) -> str:
    loss = "not finite" if result["loss"] is None else f"{result['loss']:.4f}"
    parts = [f"training loss {loss}"]
    for title, name in (("responses", "std"), ("gradients", "relative_grad_norm")):
        values = [layer[name] for layer in result["layers"] if layer[name] is not None]
        if values:
            parts.append(f"{title} {min(values):.3g} to {max(values):.3g}")
    return ", ".join(parts)


def _signals(layer: dict[str, Any]) -> str:
    numbers = ("-" if layer[name] is None else f"{layer[name]:.3g}" for name in ("std", "grad_norm"))
    std, gradient = numbers
    relative = layer["relative_grad_norm"]
    return f"response {std}, gradient {gradient}" + ("" if relative is None else f" ({relative:.3g})")


if __name__ == "__main__":
    run(main)
