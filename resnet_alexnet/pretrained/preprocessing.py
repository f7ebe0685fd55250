"""The preprocessing of a network's images, saved with checkpoints and weight files."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num, UInt8

from resnet_alexnet.data.statistics import Statistics
from resnet_alexnet.errors import check_name

Restate = Callable[["Preprocessing"], "Preprocessing"]
MEANS = ("pixel", "channel", "none")


@dataclass(frozen=True)
class Preprocessing:
    """All steps between a decoded image and the network's input, which is (pixel - mean) / std.

    Attributes:
        image_size: side of the input in pixels.
        channels: color channels.
        mean: float32 array in pixel values (0 to 255) that broadcasts against (height, width, channels).
        std: likewise.
        classes: class names in the order of the logits.
        shorter_side: size in pixels to which the shorter side of a photograph is resized before its center is cropped;
            None for images that are used without resizing.
        interpolation: how photographs are resized, one of `geometry.INTERPOLATIONS`.
    """

    image_size: int
    channels: int
    mean: np.ndarray
    std: np.ndarray
    classes: tuple[str, ...]
    shorter_side: int | None = None
    interpolation: str = "bilinear"

    def normalize(
        self, image: UInt8[Array, "batch height width channels"], dtype: jnp.dtype = jnp.float32
    ) -> Num[Array, "batch height width channels"]:
        """The network's input: (image - mean) / std in float32, then cast to `dtype`.

        A mean image fits only images of its own size. From images of another size its mean over the pixels is
        subtracted instead.

        Source: [K12] section 2 (mean image).
        """
        mean, std = (
            array.mean((0, 1)) if array.ndim == 3 and array.shape[:2] != image.shape[1:3] else array
            for array in (self.mean, self.std)
        )
        return ((image.astype(jnp.float32) - mean) / std).astype(dtype)

    def for_photographs(self) -> "Preprocessing":
        """A copy for photographs of any size: if images were not resized in training, photographs are now."""
        if self.shorter_side is not None:
            return self
        return replace(self, shorter_side=self.image_size, interpolation="area")

    def lines(self) -> list[str]:
        """Descriptions of how images are resized and cropped, of the mean and of the standard deviation."""
        size = f"{self.image_size} x {self.image_size}"
        if self.shorter_side is None:
            images = f"images: {size} pixels, as they are"
        else:
            images = f"images: shorter side {self.shorter_side} pixels ({self.interpolation}), center {size}"
        numbers = (
            f"{name}: " + (" ".join(f"{value:.4g}" for value in values) if values.ndim == 1 else "an image")
            for name, values in (("mean", self.mean), ("std", self.std))
        )
        return [images, *(f"{line}, of pixels from 0 to 255" for line in numbers)]

    def at_size(self, image_size: int | None, shorter_side: int | None = None) -> "Preprocessing":
        """A copy for images of another size. A mean image becomes its mean over the pixels, as in `normalize`.

        Args:
            image_size: side of the input in pixels; None for its own.
            shorter_side: to which photographs are resized; None keeps its proportion to the image size.
        """
        image_size = image_size or self.image_size
        if (image_size, shorter_side or self.shorter_side) == (self.image_size, self.shorter_side):
            return self
        if shorter_side is None and self.shorter_side is not None:
            shorter_side = round(self.shorter_side * image_size / self.image_size)
        if image_size == self.image_size:
            return replace(self, shorter_side=shorter_side)
        mean, std = (array.mean((0, 1)) if array.ndim == 3 else array for array in (self.mean, self.std))
        return replace(self, image_size=image_size, shorter_side=shorter_side, mean=mean, std=std)

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
        """The inverse of `to_json`."""
        arrays = {name: np.asarray(values[name], np.float32) for name in ("mean", "std")}
        return cls(**{**values, **arrays, "classes": tuple(values["classes"])})


def unchanged(preprocessing: Preprocessing) -> Preprocessing:
    """The preprocessing itself: a `Restate` that states nothing."""
    return preprocessing


def create_preprocessing(
    statistics: Statistics,
    *,
    mean: str,
    std: bool,
    classes: tuple[str, ...],
    shorter_side: int | None = None,
    interpolation: str = "bilinear",
) -> Preprocessing:
    """Creates the preprocessing from the statistics of a training set.

    Args:
        statistics: the statistics; the mean image has the network's image size.
        mean: what to subtract: the "pixel" mean image ([K12] section 2, [H15] section 3.4), the mean per "channel", or
            "none".
        std: divide by the standard deviation per channel, as torchvision's recipes do; else by 255, which only
            rescales all channels alike.
        classes: class names in the order of the logits.
        shorter_side: see `Preprocessing`.
        interpolation: see `Preprocessing`.

    Raises:
        InputError: `mean` is not one of these.
    """
    check_name("preprocess.mean", mean, MEANS)
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
