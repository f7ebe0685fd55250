"""Corruptions of images at five severities, for tests of robustness.

A corruption is a function of an image and its own random draws, which depend on the seed and the number of the image
alone: at every severity, an image has the same noise and is shifted in the same direction.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from resnet_alexnet.errors import InputError, check_name

SEVERITIES = 5
SIDE = 32  # pixels: the side of the images for which lengths are stated
_TRUNCATE = 4.0  # standard deviations at which a Gaussian ends, as in scipy and scikit-image
_DIRECTIONS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]

Pixels = UInt8[np.ndarray, "height width channels"]


@dataclass(frozen=True)
class Corruption:
    """A way to corrupt images.

    Attributes:
        apply: (image, amount, generator of random numbers) -> the corrupted image.
        amounts: the amount at severity 1 to SEVERITIES; a length is that for images of SIDE pixels.
        unit: what the amounts are.
        is_length: whether the amounts are in pixels and grow with the side of the image.
        is_whole: whether the amounts are whole numbers of pixels.
    """

    apply: Callable[[Pixels, float, np.random.Generator], Pixels]
    amounts: tuple[float, float, float, float, float]
    unit: str
    is_length: bool = False
    is_whole: bool = False

    def amount(self, severity: int, side: int) -> float:
        """The amount at a severity from 1 up, of images whose shorter side has `side` pixels."""
        amount = self.amounts[severity - 1]
        if not self.is_length:
            return amount
        return float(max(1, round(amount * side / SIDE))) if self.is_whole else amount * side / SIDE


def corrupt(image: Pixels, name: str, severity: int, *, seed: int, index: int) -> Pixels:
    """Corrupts an image.

    Args:
        image: the image, gray or of several channels.
        name: one of CORRUPTIONS.
        severity: 0, for the image as it is, to SEVERITIES.
        seed: of all images.
        index: the number of the image.

    Raises:
        InputError: there is no such corruption or severity, or the image has neither 1 nor 3 channels.
    """
    check_name("corruption", name, CORRUPTIONS)
    if not 0 <= severity <= SEVERITIES:
        raise InputError(f"severity={severity} (allowed: 0 to {SEVERITIES})")
    check_channels(image.shape[-1])
    if severity == 0:
        return image
    corruption = CORRUPTIONS[name]
    rng = np.random.default_rng([seed, index, list(CORRUPTIONS).index(name)])
    return corruption.apply(image, corruption.amount(severity, min(image.shape[:2])), rng)


def check_channels(channels: int) -> None:
    """Raises InputError unless images of so many channels can be corrupted: JPEG has gray and color ones only."""
    if channels not in (1, 3):
        raise InputError(f"images of {channels} channels cannot be corrupted (allowed: 1, gray, or 3, color)")


def add_noise(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Adds normal noise with a standard deviation of `sigma` gray levels to every value."""
    return _to_pixels(image + sigma * rng.standard_normal(image.shape))


def blur(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Convolves with a Gaussian of `sigma` pixels; the edge continues outside of the image. `rng` is not used."""
    import cv2  # here, because importing it writes environment variables

    radius = int(_TRUNCATE * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    blurred = cv2.sepFilter2D(image.astype(np.float64), -1, weights, weights, borderType=cv2.BORDER_REPLICATE)
    return _to_pixels(blurred.reshape(image.shape))  # OpenCV drops a single channel's axis


def compress(image: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """Compresses as JPEG, as Pillow does by default: color at half the resolution. `rng` is not used."""
    file = io.BytesIO()
    Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file)).reshape(image.shape)


def lower_contrast(image: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Multiplies the difference of each value from the mean of its channel by `factor`. `rng` is not used."""
    mean = image.mean((0, 1))
    return _to_pixels(mean + factor * (image - mean))


def shift(image: Pixels, pixels: float, rng: np.random.Generator) -> Pixels:
    """Moves the image by `pixels` up or down, left or right, or both; the edge continues where nothing is left."""
    height, width = image.shape[:2]
    down, right = (int(pixels) * step for step in _DIRECTIONS[rng.integers(len(_DIRECTIONS))])
    rows, columns = np.arange(height) - down, np.arange(width) - right
    return image[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]


def _to_pixels(values: np.ndarray) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


# Source: Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and
# perturbations", with the amounts of its CIFAR-10-C. The shift is ours: training pads CIFAR's images by 4 pixels.
CORRUPTIONS = {
    "noise": Corruption(add_noise, (10.2, 15.3, 20.4, 22.95, 25.5), "standard deviation in gray levels of 255"),
    "blur": Corruption(blur, (0.4, 0.6, 0.7, 0.8, 1.0), "standard deviation in pixels", is_length=True),
    "jpeg": Corruption(compress, (80, 65, 58, 50, 40), "quality of the JPEG, of 100"),
    "contrast": Corruption(lower_contrast, (0.75, 0.5, 0.4, 0.3, 0.15), "factor of the contrast"),
    "shift": Corruption(shift, (1, 2, 4, 6, 8), "pixels", is_length=True, is_whole=True),
}
