"""The views of a photograph, one at a time: geometry by Pillow, arithmetic by numpy."""

import numpy as np
from PIL import Image

from resnet_alexnet.evaluate.crops import long_sides


def resized(image, scale, shape=None):
    picture = Image.fromarray(image)
    shorter = min(picture.size)
    size = shape or (picture.width * scale // shorter, picture.height * scale // shorter)
    return picture.resize(size, Image.Resampling.BILINEAR)


def slow_ten_crops(image, size, scale, corners):
    picture = resized(image, scale)
    left, top, right, bottom = 0, 0, picture.width, picture.height
    if corners == "square":
        left, top = round((picture.width - scale) / 2), round((picture.height - scale) / 2)
        right, bottom = left + scale, top + scale
    center = (round((picture.width - size) / 2), round((picture.height - size) / 2))
    places = [(left, top), (right - size, top), (left, bottom - size), (right - size, bottom - size), center]
    return [np.asarray(picture.crop((x, y, x + size, y + size))) for x, y in places]


def slow_whole(image, scale):
    height, width = image.shape[:2]
    sides = long_sides(scale)
    if max(height, width) > min(height, width) * sides[-1] / scale:
        length = round(min(height, width) * sides[-1] / scale)
        top, left = (
            (round(max(height - length, 0) / 2) if height > width else 0),
            round((width - length) / 2) if width > height else 0,
        )
        image = np.ascontiguousarray(image[top : top + max(length, width), left : left + max(length, height)])
        height, width = image.shape[:2]
    aspect = max(height, width) / min(height, width)
    side = min(sides, key=lambda side: max(side / scale / aspect, aspect * scale / side))
    return [np.asarray(resized(image, scale, (side, scale) if width >= height else (scale, side)))]


def slow_input(network, view):
    preprocessing = network.spec.preprocessing
    mean = preprocessing.mean
    if mean.shape[:2] != view.shape[:2]:
        mean = mean.reshape(-1, mean.shape[-1]).mean(0)
    return (view.astype(np.float32) - mean) / preprocessing.std


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()
