"""Measures the statistics of a training set that preprocessing and color augmentation need."""

import contextlib
from functools import partial

import numpy as np

from resnet_alexnet.data.images.geometry import whole_image
from resnet_alexnet.data.photos import PhotoSource, map_in_threads
from resnet_alexnet.data.sources import ProgressFn, Source, no_progress
from resnet_alexnet.data.statistics import Moments, Statistics

MOST_PHOTOS = 10_000  # to measure if no statistics are stored with the set; the error of a pixel's mean is then 0.7


_CHUNK = 512  # images summed at a time


def measure(source: Source, *, progress: ProgressFn = no_progress) -> Statistics:
    """Measures a training set in its test crops.

    Photographs that are cropped are sampled: MOST_PHOTOS of them, evenly spaced. For all other sets every image is
    measured. An unreadable photograph is replaced as in training, by the next readable one.
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
