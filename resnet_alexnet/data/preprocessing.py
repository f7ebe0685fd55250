"""How pixels become a network's input, as a record that travels with checkpoints and weights."""

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from resnet_alexnet.data.geometry import whole_view
from resnet_alexnet.data.photos import PhotoSource, map_in_threads
from resnet_alexnet.data.sources import Source, Track, untracked
from resnet_alexnet.data.statistics import Moments, Statistics
from resnet_alexnet.errors import check_name

MEANS = ("pixel", "channel", "none")
MOST_PHOTOS = 10_000  # measured of a set that has no statistics stored with it; the mean of a pixel is then good to 0.7
_CHUNK = 512  # images summed at a time


@dataclass(frozen=True)
class Preprocessing:
    """Everything between a decoded image and the network.

    image_size: side in pixels; channels: colour channels.
    mean, std: float32 arrays in pixel values (0 to 255) that broadcast against (height, width, channels);
        the input is (pixel - mean) / std.
    classes: class names in the order of the logits.
    shorter_side: pixels to which a photograph's shorter side is resized before its centre is cropped; None for images
        that are taken as they are.
    interpolation: how it is resized, one of `geometry.INTERPOLATIONS`.
    """

    image_size: int
    channels: int
    mean: np.ndarray
    std: np.ndarray
    classes: tuple[str, ...]
    shorter_side: int | None = None
    interpolation: str = "bilinear"

    def for_photographs(self) -> "Preprocessing":
        """The record for photographs of any size: resized, where the network's images were taken as they are."""
        if self.shorter_side is not None:
            return self
        return replace(self, shorter_side=self.image_size, interpolation="area")

    def to_json(self) -> dict[str, Any]:
        """As JSON values; arrays become nested lists, which hold float32 exactly."""
        return {
            "image_size": self.image_size,
            "channels": self.channels,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "classes": list(self.classes),
            "shorter_side": self.shorter_side,
            "interpolation": self.interpolation,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocessing":
        """The record that `to_json` wrote."""
        arrays = {name: np.asarray(values[name], np.float32) for name in ("mean", "std")}
        return cls(**{**values, **arrays, "classes": tuple(values["classes"])})


def create_preprocessing(
    statistics: Statistics,
    *,
    mean: str,
    std: bool,
    classes: tuple[str, ...],
    shorter_side: int | None = None,
    interpolation: str = "bilinear",
) -> Preprocessing:
    """The preprocessing that a training set's statistics give.

    Args:
        statistics: of the training set, its mean image of the network's size.
        mean: what is subtracted: the "pixel" mean image ([K12] section 2, [H15] section 3.4), the mean of a "channel",
            or "none".
        std: divide by the standard deviation per channel, as torchvision's recipes; without it by 255, which leaves
            the spread of the pixels as it is.
        classes: class names in the order of the logits.
        shorter_side: see `Preprocessing`.
        interpolation: see `Preprocessing`.

    Raises:
        InputError: `mean` is none of these.
    """
    check_name("augment.mean", mean, MEANS)
    size, _, channels = statistics.pixel_mean.shape
    means = {"pixel": statistics.pixel_mean, "channel": statistics.channel_mean, "none": np.zeros(channels)}
    return Preprocessing(
        image_size=size,
        channels=channels,
        mean=means[mean].astype(np.float32),
        std=(np.maximum(statistics.channel_std, 1e-3) if std else np.full(channels, 255.0)).astype(np.float32),
        classes=classes,
        shorter_side=shorter_side,
        interpolation=interpolation,
    )


def measure(source: Source, *, track: Track = untracked) -> Statistics:
    """Measures a training set, in the views for testing.

    Of photographs that are cropped, MOST_PHOTOS are measured, evenly spaced; of all other sets, every image. Where a
    photograph cannot be read, the one that training has in its place is.
    """
    moments = Moments()
    if isinstance(source, PhotoSource):
        most = len(source) if source.test_view is whole_view else MOST_PHOTOS
        count = min(len(source), most)
        indices = [number * len(source) // count for number in range(count)]
        with contextlib.closing(map_in_threads(partial(_test_view, source), indices)) as views:
            for image in track(views, count, "measuring the mean image"):
                moments.add(image[np.newaxis])
    else:
        for start in range(0, len(source), _CHUNK):
            moments.add(source.gather(np.arange(start, min(start + _CHUNK, len(source))))["image"])
    return moments.finish()


def _test_view(source: PhotoSource, index: int) -> np.ndarray:
    return source.next_readable(index, source.test_view, None)[1]
