"""The views of a photograph that a network is tested on: resized and cropped on the host, in uint8.

Mirror images are made on the device.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from resnet_alexnet.data.images import geometry
from resnet_alexnet.errors import InputError

VIEWS = ("center", "ten_crop", "fully_convolutional")
CORNERS = ("square", "photograph")
# The shapes of whole photographs besides squares: width over height, or its inverse; those of cameras and screens.
_ASPECTS = (6 / 5, 4 / 3, 3 / 2, 16 / 9, 2)
_MULTIPLE = 32  # pixels: what the networks for ImageNet shrink to one

Pixels = UInt8[np.ndarray, "height width channels"]
Views = UInt8[np.ndarray, "views height width channels"]


@dataclass(frozen=True)
class ViewSpec:
    """How one decoded image of any size becomes the views of it at one scale; equal ones give equal views.

    Attributes:
        views: "center", the central crop. "ten_crop", the four corners and the center. "fully_convolutional", the whole
            photograph, its longer side as `long_sides` has it.
        size: side of a crop in pixels.
        scale: pixels to which the shorter side is resized first; None takes images of `size` as they are.
        corners: where those of "ten_crop" are: of the central "square" ([K12] section 4.1), or of the whole resized
            "photograph" (torchvision).
        interpolation: of the resizing, one of `data.geometry.INTERPOLATIONS`.
        channels: color channels of the views, 3 or 1; images are converted.
    """

    views: str
    size: int
    scale: int | None
    corners: str
    interpolation: str
    channels: int

    def __call__(self, image: Pixels) -> Views:
        """The views.

        Raises:
            InputError: without a scale, an image of another size; or channels that cannot be converted.
            UnreadableImageError: the image is a mere line, see `data.geometry.check_aspect`.
        """
        image = with_channels(image, self.channels)
        if self.scale is None:
            return _as_it_is(image, self.size)[np.newaxis]
        if self.views == "fully_convolutional":
            return whole(image, self.scale, self.interpolation)[np.newaxis]
        if self.views == "ten_crop":
            return five_crops(image, self.size, self.scale, self.corners, self.interpolation)
        crop = geometry.resize_center_crop(
            image, None, size=self.size, shorter_side=self.scale, interpolation=self.interpolation
        )
        return crop[np.newaxis]


def five_crops(image: Pixels, size: int, scale: int, corners: str, interpolation: str) -> Views:
    """The four corners, and the center as it is by itself. Source: [K12] section 4.1; the central square: section 2."""
    image = geometry.resize_shorter_side(image, scale, interpolation)
    center = geometry.center_crop(image, size, size)
    if corners == "square":
        image = geometry.center_crop(image, scale, scale)
    places = [(y, x) for y in (slice(size), slice(-size, None)) for x in (slice(size), slice(-size, None))]
    return np.stack([*(image[place] for place in places), center])


def long_sides(scale: int) -> tuple[int, ...]:
    """The six or fewer longer sides, in pixels, that whole photographs of a shorter side of `scale` may have.

    The shorter side is the scale to the pixel, even where 32 does not divide it, and so is a square's other side. A
    longer one is a multiple of 32, near to the scale times 6/5, 4/3, 3/2, 16/9 or 2. Upright and lying these are 11
    shapes a scale at most.
    """
    return tuple(sorted({scale} | {max(scale, round(scale * aspect / _MULTIPLE) * _MULTIPLE) for aspect in _ASPECTS}))


def whole(image: Pixels, scale: int, interpolation: str) -> Pixels:
    """The whole photograph in one of few shapes: resized to the one whose aspect ratio is nearest in logarithm.

    That stretches one side by 13 % at most at scales from 224 on, by more where a scale has fewer shapes; of a
    photograph that is longer than the longest shape the ends are cut off first.

    Source: Simonyan and Zisserman 2015 (VGG) section 3.2, the test that [H15] section 3.4 cites. Departure: there every
    photograph keeps its own shape.
    """
    height, width = image.shape[:2]
    geometry.check_aspect(height, width)
    shorter, sides = min(height, width), long_sides(scale)
    longest = round(shorter * sides[-1] / scale)
    image = geometry.center_crop(image, min(height, longest), min(width, longest))
    height, width = image.shape[:2]
    aspect = max(height, width) / shorter
    longer = min(sides, key=lambda side: abs(math.log(side / scale / aspect)))
    size = (longer, scale) if height > width else (scale, longer)
    return geometry.resize(image, *size, interpolation)


def with_channels(image: Pixels, channels: int) -> Pixels:
    """The image in gray (1 channel) or color (3): color as luma by ITU-R BT.601, gray as three equal channels.

    Raises:
        InputError: any other number of channels.
    """
    own = image.shape[2]
    if own == channels:
        return image
    if {own, channels} != {1, 3}:
        raise InputError(f"the image has {own} channels, the network takes {channels}")
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, np.newaxis]


def _as_it_is(image: Pixels, size: int) -> Pixels:
    height, width = image.shape[:2]
    if (height, width) != (size, size):
        raise InputError(
            f"the image has {width} x {height} pixels, but the network takes images of {size} x {size} as they are: "
            f"give a scale of {size} or more, to which the shorter side is resized before a crop"
        )
    return image
