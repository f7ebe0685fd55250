"""Shows what a network is trained on: python -m resnet_alexnet.preview --config=configs/quickstart.py."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

USAGE = """usage: python -m resnet_alexnet.preview --config=FILE.py[:ARGUMENT] [--output=FILE.png] [--config.x=VALUE]

Draws training images as the network sees them, decoded, cropped and augmented by the code that trains, with the
normalization undone. A row is an image: first its view for testing, then its training views in the first epochs.

  --config    a recipe such as configs/quickstart.py
  --config.x  sets a field of the recipe, such as --config.dataset.data_dir=DIR
  --output    the picture to write (preview.png)
  --images    rows (6)
  --epochs    training views in a row (7)

exit codes: 0 done · 2 bad input
"""
_FLAGS = {"output": "picture", "images": "rows", "epochs": "training views in a row"}
_DEFAULTS = {"output": "preview.png", "images": "6", "epochs": "7"}


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
    from resnet_alexnet.train.finetune import load_start
    from resnet_alexnet.train.inputs import create_inputs, read_splits
    from resnet_alexnet.train.model import set_options

    start = load_start(config.finetune, config.model.name, set_options(config.model))
    kept = start and start.network.spec.preprocessing
    groups = (config.preprocess, config.augment)
    splits = read_splits(config.dataset, *groups, start=kept, progress=progress_bar)
    inputs = create_inputs(splits, *groups, start=kept, progress=progress_bar)
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
    columns = [[(image, "test view") for image in source.gather(rows)["image"]]]
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
        InputError: anything that is not as USAGE says.
    """
    from resnet_alexnet.cli import command

    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return
    config, given = command.parse_config(arguments, _FLAGS)
    flags = {name: given[name] or value for name, value in _DEFAULTS.items()}
    images, epochs = (command.parse_number(name, flags[name], most=50) for name in ("images", "epochs"))
    output = command.parse_output("output", flags["output"], ".png")
    draw_preview(config, output, images=images, epochs=epochs)
    print(f"wrote {output}")


if __name__ == "__main__":
    from resnet_alexnet.cli.command import exit_with

    exit_with(lambda: main(sys.argv[1:]))
