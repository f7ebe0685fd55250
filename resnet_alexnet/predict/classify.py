"""Classifies photographs with a trained network, and draws the predictions."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from resnet_alexnet import parallel
from resnet_alexnet.data.images.decode import MAX_PIXELS, UnreadableImageError, decode
from resnet_alexnet.data.images.geometry import check_aspect, resize
from resnet_alexnet.data.readers.imagenet_classes import display_name
from resnet_alexnet.data.sources import ProgressFn, no_progress
from resnet_alexnet.errors import printable
from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.evaluate.scoring import score_images
from resnet_alexnet.plots import grid
from resnet_alexnet.predict.photographs import Photograph
from resnet_alexnet.predict.predictions import Prediction
from resnet_alexnet.pretrained.network import TrainedModel

_COLUMNS, _CAPTION_LINES = 4, 3  # columns and caption lines of the picture
_THUMBNAIL = 224  # longer side of a thumbnail in pixels

Pixels = UInt8[np.ndarray, "height width channels"]


def predict(
    network: TrainedModel,
    photographs: Sequence[Photograph],
    *,
    protocol: TestProtocol,
    topk: int,
    batch_size: int,
    max_pixels: int = MAX_PIXELS,
    drawn: int = 0,
    progress: ProgressFn = no_progress,
) -> tuple[list[Prediction], list[Pixels | None]]:
    """Classifies photographs.

    A photograph that cannot be read, or whose output is NaN, is reported on standard error.

    Args:
        network: the network.
        photographs: photographs of any format and size.
        protocol: the test protocol.
        topk: the greatest number of classes per photograph.
        batch_size: photographs per step over all devices.
        max_pixels: photographs with more pixels cannot be read.
        drawn: number of photographs, from the first, to make thumbnails of.
        progress: shows the number of photographs read.

    Returns:
        A prediction per photograph; and a thumbnail of each of the first `drawn`, None if it cannot be read.

    Raises:
        InputError: the network does not support the test protocol.
    """
    preprocessing = network.spec.preprocessing.for_photographs()
    network = dataclasses.replace(network, spec=dataclasses.replace(network.spec, preprocessing=preprocessing))
    errors: dict[int, str] = {}
    small: list[Pixels | None] = [None] * min(drawn, len(photographs))

    def refuse(index: int, error: str) -> None:
        errors[index] = error
        print(printable(f"{photographs[index].name}: {error}"), file=sys.stderr)

    def read(index: int) -> Pixels | None:
        try:
            image = decode(photographs[index].read(), channels=preprocessing.channels, max_pixels=max_pixels)
            check_aspect(*image.shape[:2])
        except UnreadableImageError as error:
            refuse(index, str(error))
        except OSError as error:
            refuse(index, error.strerror or str(error))
        else:
            if index < len(small):
                small[index] = thumbnail(image)
            return image
        return None

    scores = score_images(
        [network],
        read,
        len(photographs),
        protocol=protocol,
        mesh=parallel.create_mesh(jax.devices()),
        batch_size=batch_size,
        progress=progress,
    )[0]
    predictions = []
    for index, photograph in enumerate(photographs):
        if index not in errors and np.isnan(scores[index]).any():
            refuse(index, "the network's output is NaN: its weights may be too large")
        classes = () if index in errors else best_classes(scores[index], preprocessing.classes, topk)
        predictions.append(Prediction(photograph.name, classes, errors.get(index, "")))
    return predictions, small


def best_classes(
    scores: Float32[np.ndarray, "classes"], classes: Sequence[str], topk: int
) -> tuple[tuple[str, float], ...]:
    """The best `topk` classes with their scores, best first; on ties the lower class comes first."""
    best = map(int, np.argsort(-scores, kind="stable")[:topk])
    return tuple((classes[number], float(scores[number])) for number in best)


def thumbnail(image: Pixels) -> Pixels:
    """A copy whose longer side is at most _THUMBNAIL pixels."""
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer <= _THUMBNAIL:
        return image.copy()
    return resize(image, max(1, height * _THUMBNAIL // longer), max(1, width * _THUMBNAIL // longer), "area")


def draw(predictions: Sequence[Prediction], small: Sequence[Pixels | None], path: Path) -> None:
    """Draws the photographs that could be read with their best predictions, as a PNG that is written atomically."""
    cells = []
    for prediction, image in zip(predictions, small, strict=False):
        if image is not None:
            lines = [f"{display_name(name)} {100 * value:.0f} %" for name, value in prediction.classes[:_CAPTION_LINES]]
            cells.append((image, "\n".join(lines)))
    grid.draw([cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)], path)
