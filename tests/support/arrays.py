"""Sources in memory."""

import numpy as np

from resnet_alexnet.data.arrays import ArraySource


def make_source(labels, num_classes=3):
    labels = np.asarray(labels, np.int32)
    images = np.zeros((len(labels), 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels)) % 256  # so that an image tells its index
    return ArraySource(images, labels, tuple("abcdefghij"[:num_classes]))
