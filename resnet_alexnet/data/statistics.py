"""What preprocessing and color augmentation need to know of a training set: mean image and color covariance."""

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
        count: images measured.
        pixel_mean: the mean image.
        covariance: of the channels, over all images and positions, divided by the number of pixels; its eigenvectors are
            the axes of the color augmentation ([K12] section 4.1, `augment.color_basis`).
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
        """With the mean image cropped to its central `size` x `size` pixels; the covariance stays that of whole images.

        Raises:
            InputError: the images are smaller.
        """
        height, width, _ = self.pixel_mean.shape
        if not 1 <= size <= min(height, width):
            raise InputError(f"a mean image of {height}x{width} pixels has no central {size}x{size}")
        top, left = (height - size) // 2, (width - size) // 2
        return Statistics(self.count, self.pixel_mean[top : top + size, left : left + size], self.covariance)


class Moments:
    """The sums that statistics come from; exact, so neither the order of the images nor that of merging matters.

    All are integers below 2**63 up to 10**14 pixels: ImageNet's training set at 256 x 256 has 8.4 * 10**10.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sum: Int64[np.ndarray, "height width channels"] | None = None
        self.products: Int64[np.ndarray, "channels channels"] | None = None

    def add(self, images: UInt8[np.ndarray, "images height width channels"]) -> None:
        """Adds images.

        Raises:
            InputError: they have another size than those before.
        """
        # Float64 holds integers up to 2**53 exactly, which 10**11 pixels reach, and BLAS has no integers.
        pixels = images.reshape(-1, images.shape[-1]).astype(np.float64)
        self._add(len(images), images.sum(0, dtype=np.int64), (pixels.T @ pixels).astype(np.int64))

    def merge(self, other: "Moments") -> None:
        """Adds the images that `other` has seen.

        Raises:
            InputError: they have another size than those before.
        """
        if other.sum is not None and other.products is not None:
            self._add(other.count, other.sum, other.products)

    def finish(self) -> Statistics:
        """The statistics of all images so far.

        Raises:
            InputError: there were none.
        """
        if self.sum is None or self.products is None or not self.count:
            raise InputError("statistics of no images: the training set is empty")
        height, width, channels = self.sum.shape
        num_pixels = self.count * height * width
        # In Python's integers, which do not overflow and whose quotient is rounded once.
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
            raise InputError(f"statistics need images of one size: {_size(total)} after {_size(self.sum)}")
        self.count += count
        self.sum += total
        self.products += products


def _size(image: np.ndarray) -> str:
    return "x".join(map(str, image.shape))


def save_statistics(path: str | os.PathLike[str], statistics: Statistics, *, remedy: str = "") -> None:
    """Writes statistics to an `.npz` file with `atomic_write`; the same statistics give the same bytes.

    Raises:
        InputError: the file cannot be written; the message ends with `remedy`.
    """
    with atomic_write(Path(path), remedy=remedy) as temporary, temporary.open("wb") as file:
        np.savez(file, count=statistics.count, pixel_mean=statistics.pixel_mean, covariance=statistics.covariance)


def load_statistics(path: str | os.PathLike[str]) -> Statistics:
    """Reads what `save_statistics` wrote.

    Raises:
        InputError: the file is missing, damaged or something else.
    """
    remedy = "write it again with python -m resnet_alexnet.data.prepare"
    try:
        # Opened here: of a file that is cut off, numpy would leave closing it to chance.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            count, mean, covariance = (arrays[name] for name in ("count", "pixel_mean", "covariance"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): {remedy}") from None
    # A bare .npy is no context manager and has no names (TypeError), as no .npz ends early (EOFError).
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} does not hold statistics ({error}): {remedy}") from None
    channels = mean.shape[-1] if mean.ndim == 3 else 0
    numbers = all(array.dtype == np.float64 and np.isfinite(array).all() for array in (mean, covariance))
    if not channels or covariance.shape != (channels, channels) or not numbers or count.shape or int(count) < 1:
        raise InputError(f"{path} does not hold statistics (count {count}, mean {_size(mean)}): {remedy}")
    return Statistics(int(count), mean, covariance)
