"""The test views of a photograph: resized and cropped on the host, in uint8. The device adds mirror images."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from resnet_alexnet.data.images import geometry
from resnet_alexnet.errors import InputError

VIEWS = ("center", "ten_crop", "fully_convolutional")
CORNERS = ("square", "photograph")
# Aspect ratios of whole photographs other than squares, longer over shorter side: those of cameras and screens.
_ASPECTS = (6 / 5, 4 / 3, 3 / 2, 16 / 9, 2)
_MULTIPLE = 32  # pixels: the total stride of the networks for ImageNet

Pixels = UInt8[np.ndarray, "height width channels"]
Views = UInt8[np.ndarray, "views height width channels"]


@dataclass(frozen=True)
class ViewSpec:
    """Makes the test views of one decoded image at one scale. Equal specs make equal views.

    Attributes:
        views: "center", the central crop; "ten_crop", the four corners and the center; "fully_convolutional", the whole
            photograph, with its longer side from `long_sides`.
        size: side of a crop in pixels.
        scale: size in pixels to which the shorter side is resized first; None for images of `size`, without resizing.
        corners: where the corners of "ten_crop" are: in the central "square" ([K12] section 4.1), or in the whole
            resized "photograph" (torchvision).
        interpolation: how images are resized, one of `data.images.geometry.INTERPOLATIONS`.
        channels: color channels of the views, 3 or 1; images are converted.
    """

    views: str
    size: int
    scale: int | None
    corners: str
    interpolation: str
    channels: int

    def __call__(self, image: Pixels) -> Views:
        """The views of an image.

        Raises:
            InputError: there is no scale and the image is not of `size`, or its channels cannot be converted.
            UnreadableImageError: the image is too narrow, see `data.images.geometry.check_aspect`.
        """
        image = with_channels(image, self.channels)
        if self.scale is None:
            return _check_size(image, self.size)[np.newaxis]
        if self.views == "fully_convolutional":
            return whole(image, self.scale, self.interpolation)[np.newaxis]
        if self.views == "ten_crop":
            return five_crops(image, self.size, self.scale, self.corners, self.interpolation)
        crop = geometry.resize_center_crop(
            image, None, size=self.size, shorter_side=self.scale, interpolation=self.interpolation
        )
        return crop[np.newaxis]


def five_crops(image: Pixels, size: int, scale: int, corners: str, interpolation: str) -> Views:
    """The four corners and the central crop. Source: [K12] section 4.1; the central square: section 2."""
    image = geometry.resize_shorter_side(image, scale, interpolation)
    center = geometry.center_crop(image, size, size)
    if corners == "square":
        image = geometry.center_crop(image, scale, scale)
    places = [(y, x) for y in (slice(size), slice(-size, None)) for x in (slice(size), slice(-size, None))]
    return np.stack([*(image[place] for place in places), center])


def long_sides(scale: int) -> tuple[int, ...]:
    """The longer sides, at most six, in pixels, that whole photographs with a shorter side of `scale` pixels can have.

    The shorter side is always the scale, even if it is not a multiple of 32; so is the longer side of a square. Other
    longer sides are multiples of 32 near the scale times 6/5, 4/3, 3/2, 16/9 or 2. With portrait and landscape this
    makes at most 11 shapes per scale.
    """
    return tuple(sorted({scale} | {max(scale, round(scale * aspect / _MULTIPLE) * _MULTIPLE) for aspect in _ASPECTS}))


def whole(image: Pixels, scale: int, interpolation: str) -> Pixels:
    """Resizes a whole photograph to one of few shapes: the one with the nearest aspect ratio, by its logarithm.

    At scales of 224 and above this stretches one side by at most 13 %; smaller scales have fewer shapes and stretch
    more. If a photograph is longer than the longest shape, its ends are cut off first.

    Source: Simonyan and Zisserman 2015 (VGG) section 3.2, the test that [H15] section 3.4 cites.
    Departure: there each photograph keeps its own shape.
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
    """Converts an image to gray (1 channel, luma by ITU-R BT.601) or to color (3 channels, equal for gray images).

    Raises:
        InputError: another number of channels.
    """
    own = image.shape[2]
    if own == channels:
        return image
    if {own, channels} != {1, 3}:
        raise InputError(f"the image has {own} channels, but the network takes {channels} (allowed: 1 or 3)")
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, np.newaxis]


def _check_size(image: Pixels, size: int) -> Pixels:
    height, width = image.shape[:2]
    if (height, width) != (size, size):
        raise InputError(
            f"the image has {width} x {height} pixels, but the network takes {size} x {size} without resizing: "
            f"set scales to {size} or more, to which the shorter side is resized before a crop"
        )
    return image
