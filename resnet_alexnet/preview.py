"""Shows what a network is trained on: python -m resnet_alexnet.preview --config=configs/quickstart.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.start import begin

_DESCRIPTION = """Draws training images as the network sees them.

The images are decoded, cropped and augmented by the code that trains, with the
normalization undone. A row is an image: first as in tests, then as
in the first epochs of training."""


def create_parser() -> Parser:
    """The flags of the command."""
    parser = Parser("python -m resnet_alexnet.preview", _DESCRIPTION, usage="--config=NAME [OPTIONS]")
    flags.add_output(parser, ".png", default="preview.png")
    count = flags.whole_number(most=50)
    parser.add_argument("--images", metavar="N", type=count, default=6, help="rows")
    parser.add_argument("--epochs", metavar="N", type=count, default=7, help="training images in a row, one per epoch")
    flags.add_compile_cache(parser)
    flags.add_config(parser, "the recipe whose images to draw, such as quickstart or FILE.py")
    return parser


def draw_preview(config: Any, output: Path, *, images: int, epochs: int) -> None:
    """Writes the picture of `images` training images, evenly spaced over the set, in `epochs` epochs.

    Raises:
        InputError: what is wrong with the config, its data or the output.
    """
    import jax
    import numpy as np

    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.plots import grid
    from resnet_alexnet.train import steps
    from resnet_alexnet.train.experiment import count_logits, create_preprocess_batch
    from resnet_alexnet.train.finetune import load_start, start_preprocessing
    from resnet_alexnet.train.inputs import create_inputs, read_splits
    from resnet_alexnet.train.model import set_options

    start = load_start(config.finetune, config.model.name, set_options(config.model))
    kept = start and start_preprocessing(start, config.preprocess)
    groups = (config.preprocess, config.augment)
    splits = read_splits(config.dataset, *groups, start=kept, progress=progress_bar)
    inputs = create_inputs(splits, *groups, start=kept, progress=progress_bar)
    for note in inputs.notes:
        print(note)
    source, preprocessing = splits.train, inputs.preprocessing
    preprocess = jax.jit(
        create_preprocess_batch(
            inputs,
            precision=config.precision,
            mixup=config.augment.mixup,
            cutmix=config.augment.cutmix,
            num_logits=count_logits(config, source.classes),
        )
    )
    # Of mixing, neighbors are the partners: an even number of rows.
    rows = np.arange(images + images % 2) * len(source) // (images + images % 2)
    columns = [[(image, "test") for image in source.gather(rows)["image"]]]
    for epoch in range(epochs):
        augment_keys, _, mix_keys = steps.image_keys(config.seed, jax.numpy.asarray(epoch), jax.numpy.arange(len(rows)))
        batch = source.gather(rows, (config.seed, epoch))
        image, label = preprocess({name: batch[name] for name in ("image", "label")}, augment_keys, mix_keys)
        pixels = np.asarray(image, np.float32) * preprocessing.std + preprocessing.mean
        captions = [_caption(weights, source.classes) for weights in np.asarray(label)]
        columns.append(list(zip(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), captions, strict=True)))
    grid.draw([list(row) for row in zip(*columns, strict=True)][:images], output)


def _caption(label: Any, classes: Sequence[str]) -> str:
    """The class, or the classes and their shares where images were mixed."""
    if not label.shape:
        return classes[int(label)]
    if len(label) == 1:
        return f"{100 * label[0]:.0f} % {classes[1]}"
    parts = [f"{100 * label[index]:.0f} % {classes[index]}" for index in label.argsort()[::-1] if label[index] > 0]
    return classes[int(label.argmax())] if len(parts) == 1 else "\n".join(parts)


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the config or the data.
    """
    options = create_parser().parse(arguments)
    begin(options)
    config = flags.load_config(options, missing="a recipe, such as --config=quickstart")
    draw_preview(config, options.output, images=options.images, epochs=options.epochs)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    run(main)
