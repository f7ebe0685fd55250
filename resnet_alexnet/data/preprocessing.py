"""How pixels become a network's input, as a record that travels with checkpoints and weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_alexnet.data.sources import Source
from resnet_alexnet.errors import check_name

MEANS = ("pixel", "channel", "none")
_CHUNK = 4096  # images summed at a time, so that float64 sums need little memory


@dataclass(frozen=True)
class Preprocessing:
    """Everything between a decoded image and the network.

    image_size: side in pixels; channels: colour channels.
    mean, std: float32 arrays in pixel values (0 to 255) that broadcast against (height, width, channels);
        the input is (pixel - mean) / std.
    classes: class names in the order of the logits.
    """

    image_size: int
    channels: int
    mean: np.ndarray
    std: np.ndarray
    classes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; arrays become nested lists, which hold float32 exactly."""
        return {
            "image_size": self.image_size,
            "channels": self.channels,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "classes": list(self.classes),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocessing":
        """The record that `to_json` wrote."""
        return cls(
            image_size=values["image_size"],
            channels=values["channels"],
            mean=np.asarray(values["mean"], np.float32),
            std=np.asarray(values["std"], np.float32),
            classes=tuple(values["classes"]),
        )


def create_preprocessing(source: Source, *, mean: str, std: bool) -> Preprocessing:
    """Measures the training set once.

    Args:
        source: the training images, all of one square size.
        mean: what is subtracted: the "pixel" mean image ([K12] section 2, [H15] section 3.4), the mean of a "channel",
            or "none".
        std: divide by the standard deviation per channel, as torchvision's recipes; without it by 255, which leaves
            the spread of the pixels as it is.

    Raises:
        InputError: `mean` is none of these.
    """
    check_name("augment.mean", mean, MEANS)
    total = square = None
    for start in range(0, len(source), _CHUNK):
        image = source.gather(np.arange(start, min(start + _CHUNK, len(source))))["image"].astype(np.float64)
        total = image.sum(0) if total is None else total + image.sum(0)
        square = (image**2).sum((0, 1, 2)) if square is None else square + (image**2).sum((0, 1, 2))
    pixel_mean = np.asarray(total) / len(source)
    channel_mean = pixel_mean.mean((0, 1))
    size, _, channels = pixel_mean.shape
    variance = np.asarray(square) / (len(source) * size**2) - channel_mean**2
    means = {"pixel": pixel_mean, "channel": channel_mean, "none": np.zeros(channels)}
    return Preprocessing(
        image_size=size,
        channels=channels,
        mean=means[mean].astype(np.float32),
        std=(np.sqrt(np.maximum(variance, 1e-6)) if std else np.full(channels, 255.0)).astype(np.float32),
        classes=source.classes,
    )
