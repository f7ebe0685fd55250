"""Draws the kernels of the first convolution."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from resnet_alexnet.errors import InputError
from resnet_alexnet.features.extraction import check_present
from resnet_alexnet.models.trace import layer_calls
from resnet_alexnet.plots import grid
from resnet_alexnet.pretrained.network import TrainedModel

_PIXELS = 44  # approximate side of a kernel in the picture


def first_kernels(network: TrainedModel) -> tuple[str, list[Float32[np.ndarray, "height width channels kernels"]]]:
    """The path of the first convolution, and its kernels, one array per tower.

    Raises:
        InputError: the images of the network do not have 1 or 3 channels.
    """
    size, channels = network.spec.preprocessing.image_size, network.spec.preprocessing.channels
    if channels not in (1, 3):
        raise InputError(
            f"the network takes images of {channels} channels, so its kernels cannot be drawn (allowed: 1 or 3)"
        )
    path = layer_calls(network.spec.abstract(), (size, size, channels))[0].path
    check_present(network, [path], what="the kernels")
    kernel = np.asarray(network.leaves()[f"params/{path.replace('.', '/')}/kernel"])
    return path, list(kernel) if kernel.ndim == 5 else [kernel]


def tile_kernels(
    kernels: Float32[np.ndarray, "height width channels kernels"], *, scale: int
) -> UInt8[np.ndarray, "rows columns channels"]:
    """Tiles kernels into one image, with white lines between them and `scale` pixels per weight.

    A weight of 0 is gray. The weight of a kernel with the largest magnitude is black or white.

    Source: [K12] figure 3, 16 kernels in a row.
    """
    largest = np.maximum(np.abs(kernels).max((0, 1, 2)), np.finfo(np.float32).tiny)
    images = np.rint(127.5 + 127.5 * kernels / largest).astype(np.uint8).transpose(3, 0, 1, 2)
    images = images.repeat(scale, 1).repeat(scale, 2)
    images = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=255)
    columns = _columns(len(images))
    _, height, width, channels = images.shape
    grid = images.reshape(-1, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return grid.reshape(-1, columns * width, channels)


def _columns(count: int) -> int:
    """The number of columns for `count` kernels without gaps: at most 16, and fewer than six times the rows."""
    return max(n for n in range(1, 17) if count % n == 0 and n * n < 6 * count)


def draw_kernels(network: TrainedModel, output: Path) -> None:
    """Draws the first kernels of a network as a PNG.

    Raises:
        InputError: the images of the network do not have 1 or 3 channels.
    """
    path, towers = first_kernels(network)
    size, _, channels, _ = towers[0].shape
    total = sum(kernels.shape[-1] for kernels in towers)
    title = f"{network.spec.model} {path}: {total} kernels of {size} x {size} x {channels}"
    blocks = [tile_kernels(kernels, scale=max(1, round(_PIXELS / size))) for kernels in towers]
    names = [""] if len(blocks) == 1 else [f"tower {number}" for number in range(1, len(blocks) + 1)]
    grid.draw_blocks(list(zip(blocks, names, strict=True)), output, title=title)
