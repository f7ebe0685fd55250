"""Classifies photographs with a trained network, and draws the predictions."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from resnet_alexnet import parallel
from resnet_alexnet.data.images.decode import MAX_PIXELS, UnreadableImageError, decode
from resnet_alexnet.data.images.geometry import check_aspect, resize
from resnet_alexnet.data.readers.imagenet_classes import display_name
from resnet_alexnet.errors import printable
from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.evaluate.scoring import stream_scores
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
    small: dict[int, Pixels] | None = None,
    drawn: int = 0,
) -> Iterator[Prediction]:
    """Classifies photographs: yields the prediction of each in order, as soon as its batch is computed.

    A photograph that cannot be read, or whose output is NaN, is reported on standard error.

    Args:
        network: the network.
        photographs: photographs of any format and size.
        protocol: the test protocol.
        topk: the greatest number of classes per photograph.
        batch_size: photographs per step over all devices.
        max_pixels: photographs with more pixels cannot be read.
        small: is filled with thumbnails of photographs that can be read, by their index.
        drawn: number of photographs, from the first, to make thumbnails of.

    Raises:
        InputError: the network does not support the test protocol.
    """
    preprocessing = network.spec.preprocessing.for_photographs()
    network = dataclasses.replace(network, spec=dataclasses.replace(network.spec, preprocessing=preprocessing))
    errors: dict[int, str] = {}

    def read(index: int) -> Pixels | None:
        try:
            image = decode(photographs[index].read(), channels=preprocessing.channels, max_pixels=max_pixels)
            check_aspect(*image.shape[:2])
        except UnreadableImageError as error:
            errors[index] = str(error)
        except OSError as error:
            errors[index] = error.strerror or str(error)
        else:
            if small is not None and index < drawn:
                small[index] = thumbnail(image)
            return image
        return None

    def finish(index: int, scores: Float32[np.ndarray, "classes"] | None) -> Prediction:
        name, error = photographs[index].name, errors.get(index, "")
        if scores is not None and np.isnan(scores).any():
            error = "the network's output is NaN: its weights may be too large"
        if error or scores is None:
            print(printable(f"{name}: {error}"), file=sys.stderr, flush=True)
            return Prediction(name, (), error)
        return Prediction(name, best_classes(scores, preprocessing.classes, topk))

    mesh = parallel.create_mesh(jax.devices())
    scored = stream_scores(network, read, len(photographs), protocol=protocol, mesh=mesh, batch_size=batch_size)
    waiting: dict[int, Float32[np.ndarray, "classes"]] = {}
    first = 0  # of the photographs that are not answered yet
    with contextlib.closing(scored):
        for index, scores in scored:
            waiting[index] = scores
            while first in waiting or first in errors:
                yield finish(first, waiting.pop(first, None))
                first += 1
    for index in range(first, len(photographs)):  # those behind the last one that was scored
        yield finish(index, None)


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


def draw(predictions: Sequence[Prediction], small: Mapping[int, Pixels], path: Path) -> None:
    """Draws the photographs that could be read with their best predictions, as a PNG that is written atomically."""
    from resnet_alexnet.plots import grid  # here, because matplotlib takes long to import

    cells = []
    for index, image in sorted(small.items()):
        classes = predictions[index].classes[:_CAPTION_LINES]
        cells.append((image, "\n".join(f"{display_name(name)} {100 * value:.0f} %" for name, value in classes)))
    grid.draw([cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)], path)
