"""A source in memory."""

import numpy as np
import pytest

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.errors import InputError
from tests.support.arrays import make_source


def test_gather_gives_the_examples_at_the_indices():
    batch = make_source([0, 1, 2, 2]).gather(np.array([3, 0, 3]))
    assert batch["image"][:, 0, 0, 0].tolist() == [3, 0, 3]
    assert batch["label"].tolist() == [2, 0, 2]
    assert (batch["image"].dtype, batch["label"].dtype) == (np.uint8, np.int32)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 2, 2, 1), np.float32), np.zeros(3, np.int32), "images are float32"),
        (np.zeros((3, 2, 2), np.uint8), np.zeros(3, np.int32), r"shape \(3, 2, 2\)"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(3, np.int64), "labels are int64"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(2, np.int32), r"must be int32 of shape \(3,\)"),
        (np.zeros((0, 2, 2, 1), np.uint8), np.zeros(0, np.int32), "has no images"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 2, -1], np.int32), "image 1 is 2 .allowed: 0 to 1"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 1, -1], np.int32), "image 2 is -1"),
    ],
)
def test_bad_arrays_are_refused_when_the_source_is_made(images, labels, message):
    with pytest.raises(InputError, match=message):
        ArraySource(images, labels, ("a", "b"))
