"""Statistics of a training set, for preprocessing and color augmentation: mean image and color covariance."""

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of uint8 images of one size, in pixel values from 0 to 255.

    Attributes:
        count: number of images measured.
        pixel_mean: the mean image.
        covariance: covariance of the channels over all images and positions, divided by the number of pixels. Its
            eigenvectors are the axes of the color augmentation ([K12] section 4.1, `augment.color_basis`).
    """

    count: int
    pixel_mean: Float64[np.ndarray, "height width channels"]
    covariance: Float64[np.ndarray, "channels channels"]

    @property
    def channel_mean(self) -> Float64[np.ndarray, "channels"]:
        """The mean of each channel, over all images and positions."""
        return self.pixel_mean.mean((0, 1))

    @property
    def channel_std(self) -> Float64[np.ndarray, "channels"]:
        """The standard deviation of each channel, over all images and positions."""
        return np.sqrt(np.diagonal(self.covariance))

    def central(self, size: int) -> "Statistics":
        """Crops the mean image to its central `size` x `size` pixels. The covariance remains that of whole images.

        Raises:
            InputError: the images are smaller than `size`.
        """
        height, width, _ = self.pixel_mean.shape
        if not 1 <= size <= min(height, width):
            raise InputError(f"a mean image of {height}x{width} pixels cannot be cropped to {size}x{size}")
        top, left = (height - size) // 2, (width - size) // 2
        return Statistics(self.count, self.pixel_mean[top : top + size, left : left + size], self.covariance)


class Moments:
    """Running sums for `Statistics`. They are exact, so the result does not depend on the order of images or merges.

    The sums are integers that stay below 2**63 for up to 10**14 pixels. ImageNet's training set at 256 x 256 has
    8.4 * 10**10.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sum: Int64[np.ndarray, "height width channels"] | None = None
        self.products: Int64[np.ndarray, "channels channels"] | None = None

    def add(self, images: UInt8[np.ndarray, "images height width channels"]) -> None:
        """Adds images.

        Raises:
            InputError: their size differs from that of earlier images.
        """
        # BLAS has no integer product. Float64 is exact for integers up to 2**53, which 10**11 pixels reach.
        pixels = images.reshape(-1, images.shape[-1]).astype(np.float64)
        self._add(len(images), images.sum(0, dtype=np.int64), (pixels.T @ pixels).astype(np.int64))

    def merge(self, other: "Moments") -> None:
        """Adds the sums of `other`.

        Raises:
            InputError: the size of its images differs from that of earlier images.
        """
        if other.sum is not None and other.products is not None:
            self._add(other.count, other.sum, other.products)

    def finish(self) -> Statistics:
        """Returns the statistics of all images added so far.

        Raises:
            InputError: no image was added.
        """
        if self.sum is None or self.products is None or not self.count:
            raise InputError("statistics need images: the training set is empty")
        height, width, channels = self.sum.shape
        num_pixels = self.count * height * width
        # Python's integers do not overflow, and their quotient is rounded only once.
        totals = [int(total) for total in self.sum.sum((0, 1))]
        covariance = [
            [(num_pixels * int(self.products[i, j]) - totals[i] * totals[j]) / num_pixels**2 for j in range(channels)]
            for i in range(channels)
        ]
        return Statistics(self.count, self.sum / self.count, np.array(covariance))

    def _add(self, count: int, total: np.ndarray, products: np.ndarray) -> None:
        if self.sum is None or self.products is None:
            self.sum, self.products = np.zeros_like(total), np.zeros_like(products)
        if self.sum.shape != total.shape:
            raise InputError(f"statistics need images of one size, but there are {_size(self.sum)} and {_size(total)}")
        self.count += count
        self.sum += total
        self.products += products


def _size(image: np.ndarray) -> str:
    return "x".join(map(str, image.shape))


def save_statistics(path: str | os.PathLike[str], statistics: Statistics, *, remedy: str = "") -> None:
    """Writes statistics to an `.npz` file with `atomic_write`. Equal statistics give identical bytes.

    Raises:
        InputError: the file cannot be written. The message ends with `remedy`.
    """
    with atomic_write(Path(path), remedy=remedy) as temporary, temporary.open("wb") as file:
        np.savez(file, count=statistics.count, pixel_mean=statistics.pixel_mean, covariance=statistics.covariance)


def load_statistics(path: str | os.PathLike[str]) -> Statistics:
    """Reads a file that `save_statistics` wrote.

    Raises:
        InputError: the file is missing, damaged, or not such a file.
    """
    remedy = "write it again with python -m resnet_alexnet.data.prepare"
    try:
        # Opened here, because numpy does not close a truncated file.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            count, mean, covariance = (arrays[name] for name in ("count", "pixel_mean", "covariance"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): {remedy}") from None
    # A bare .npy is not a context manager (TypeError). An empty file raises EOFError.
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is not a statistics file ({error}): {remedy}") from None
    channels = mean.shape[-1] if mean.ndim == 3 else 0
    numbers = all(array.dtype == np.float64 and np.isfinite(array).all() for array in (mean, covariance))
    if not channels or covariance.shape != (channels, channels) or not numbers or count.shape or int(count) < 1:
        raise InputError(f"{path} is not a statistics file (count {count}, mean {_size(mean)}): {remedy}")
    return Statistics(int(count), mean, covariance)
