"""Measures what preprocessing and color augmentation need to know of a training set."""

import contextlib
from functools import partial

import numpy as np

from resnet_alexnet.data.images.geometry import whole_image
from resnet_alexnet.data.photos import PhotoSource, map_in_threads
from resnet_alexnet.data.sources import ProgressFn, Source, no_progress
from resnet_alexnet.data.statistics import Moments, Statistics

MOST_PHOTOS = 10_000  # measured of a set that has no statistics stored with it; the mean of a pixel is then good to 0.7


_CHUNK = 512  # images summed at a time


def measure(source: Source, *, progress: ProgressFn = no_progress) -> Statistics:
    """Measures a training set, in the views for testing.

    Of photographs that are cropped, MOST_PHOTOS are measured, evenly spaced; of all other sets, every image. Where a
    photograph cannot be read, the one that training has in its place is.
    """
    moments = Moments()
    if isinstance(source, PhotoSource):
        most = len(source) if source.test_crop is whole_image else MOST_PHOTOS
        count = min(len(source), most)
        indices = [number * len(source) // count for number in range(count)]
        with contextlib.closing(map_in_threads(partial(_test_crop, source), indices)) as crops:
            for image in progress(crops, count, "measuring the mean image"):
                moments.add(image[np.newaxis])
    else:
        for start in range(0, len(source), _CHUNK):
            moments.add(source.gather(np.arange(start, min(start + _CHUNK, len(source))))["image"])
    return moments.finish()


def _test_crop(source: PhotoSource, index: int) -> np.ndarray:
    return source.next_readable(index, source.test_crop, None)[1]
