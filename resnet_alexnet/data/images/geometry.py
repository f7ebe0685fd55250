"""Resizing and cropping of photographs, on the host, in uint8.

A crop is a function of an image and a random generator. Test crops do not use the generator.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from resnet_alexnet.data.images.decode import UnreadableImageError

INTERPOLATIONS = ("bilinear", "area", "bicubic", "bilinear_antialiased", "bicubic_antialiased")
_ANTIALIASED = {
    "bilinear_antialiased": Image.Resampling.BILINEAR,
    "bicubic_antialiased": Image.Resampling.BICUBIC,
}
MAX_ASPECT = 100
_TRIES = 10  # draws of a random-resized crop before the fallback, as in torchvision

Pixels = UInt8[np.ndarray, "height width channels"]


class Window(NamedTuple):
    """A rectangle of a photograph, in pixels.

    Attributes:
        y: first row.
        x: first column.
        height: number of rows.
        width: number of columns.
    """

    y: int
    x: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The first row below the window."""
        return self.y + self.height

    def of(self, image: Pixels) -> Pixels:
        """Returns the window's pixels. The image may end at `bottom`."""
        return image[self.y : self.bottom, self.x : self.x + self.width]


def resize(image: Pixels, height: int, width: int, interpolation: str = "bilinear") -> Pixels:
    """Resizes to (height, width) pixels.

    "bilinear" and "bicubic" always use 2x2 and 4x4 source pixels, as OpenCV in Caffe did. "area" averages all source
    pixels that fall into one target pixel when shrinking. The antialiased modes are Pillow's, whose window grows with
    the reduction. The weights of torchvision and timm were trained with these.
    """
    if image.shape[:2] == (height, width):
        return image
    if interpolation in _ANTIALIASED:
        picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
        resized = np.asarray(picture.resize((width, height), _ANTIALIASED[interpolation]))
        return resized.reshape(height, width, image.shape[2])
    import cv2  # here, because importing it writes environment variables

    flags = {"bilinear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "bicubic": cv2.INTER_CUBIC}
    resized = cv2.resize(image, (width, height), interpolation=flags[interpolation])
    return resized.reshape(height, width, image.shape[2])  # OpenCV drops a single channel's axis


def resize_with_one_thread() -> None:
    """Makes each resize in this process use one thread, for callers that run many in parallel."""
    import cv2

    cv2.setNumThreads(1)


def resize_shorter_side(image: Pixels, size: int, interpolation: str = "bilinear") -> Pixels:
    """Resizes the shorter side to `size` pixels and the longer side in proportion, rounded down.

    Raises:
        UnreadableImageError: one side is at least MAX_ASPECT times the other; the result could fill the memory.
    """
    height, width = image.shape[:2]
    check_aspect(height, width)
    shorter = min(height, width)
    return resize(image, height * size // shorter, width * size // shorter, interpolation)


def check_aspect(height: int, width: int) -> None:
    """Raises UnreadableImageError if one side is at least MAX_ASPECT times the other."""
    if max(height, width) >= MAX_ASPECT * min(height, width):
        raise UnreadableImageError(
            f"it has {width} x {height} pixels; one side is {MAX_ASPECT} times the other or more"
        )


def center_crop(image: Pixels, height: int, width: int) -> Pixels:
    """Crops the central (height, width) pixels. Half an odd margin is rounded to even, as torchvision and timm do."""
    y, x = round((image.shape[0] - height) / 2), round((image.shape[1] - width) / 2)
    return Window(y, x, height, width).of(image)


def resize_center_crop(
    image: Pixels, rng: np.random.Generator | None, *, size: int, shorter_side: int, interpolation: str
) -> Pixels:
    """Crops the center of the resized photograph. `rng` is not used.

    Source: [K12] section 2.
    """
    return center_crop(resize_shorter_side(image, shorter_side, interpolation), size, size)


def resize_random_crop(
    image: Pixels,
    rng: np.random.Generator,
    *,
    size: int,
    scale: tuple[int, int],
    central_square: bool,
    interpolation: str,
) -> Pixels:
    """Resizes the shorter side to a random length, then crops at a random position.

    Args:
        image: the photograph.
        rng: draws the shorter side, then the crop's row and column.
        size: side of the crop, in pixels.
        scale: minimum and maximum of the shorter side, in pixels.
        central_square: crop from the central square only, not from the whole image.
        interpolation: one of INTERPOLATIONS.

    Source: [H15] section 3.4 (shorter side in [256, 480]); [K12] sections 2 and 4.1 (the central square of 256).
    """
    shorter_side = int(rng.integers(scale[0], scale[1] + 1))
    image = resize_shorter_side(image, shorter_side, interpolation)
    if central_square:
        image = center_crop(image, shorter_side, shorter_side)
    y, x = rng.integers(0, image.shape[0] - size + 1), rng.integers(0, image.shape[1] - size + 1)
    return image[y : y + size, x : x + size]


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """A crop of random area and aspect ratio, resized to a square.

    Its position depends only on the photograph's size, so that it can be drawn before the photograph is decoded.

    Attributes:
        size: side of the result, in pixels.
        area: minimum and maximum area of the crop, as fractions of the photograph.
        aspect: minimum and maximum width / height, whose logarithm is drawn uniformly.
        interpolation: one of INTERPOLATIONS.

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 6. As in torchvision, the aspect ratio is
        drawn in its logarithm, and the fallback is the largest central crop whose aspect ratio is allowed.
    """

    size: int
    area: tuple[float, float]
    aspect: tuple[float, float]
    interpolation: str

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Crops and resizes a decoded photograph."""
        return self.finish(self.window(image.shape[0], image.shape[1], rng).of(image))

    def window(self, height: int, width: int, rng: np.random.Generator) -> Window:
        """Draws area, aspect, row and column of the crop of a photograph of (height, width) pixels.

        Raises:
            UnreadableImageError: one side is at least MAX_ASPECT times the other.
        """
        check_aspect(height, width)
        for _ in range(_TRIES):
            target = height * width * rng.uniform(*self.area)
            ratio = math.exp(rng.uniform(math.log(self.aspect[0]), math.log(self.aspect[1])))
            w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
            if 0 < w <= width and 0 < h <= height:
                y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
                return Window(int(y), int(x), h, w)
        w = min(width, max(1, round(height * self.aspect[1])))
        h = min(height, max(1, round(width / self.aspect[0])))
        return Window((height - h) // 2, (width - w) // 2, h, w)

    def finish(self, crop: Pixels) -> Pixels:
        """Resizes the window's pixels to the crop's size."""
        return resize(crop, self.size, self.size, self.interpolation)


def whole_image(image: Pixels, rng: np.random.Generator | None) -> Pixels:
    """Returns the image unchanged, for sets whose images all have the network's input size. `rng` is not used."""
    return image
