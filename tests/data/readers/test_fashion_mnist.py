import gzip
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from resnet_alexnet.data.readers import fashion_mnist

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
needs_debian = pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")


def test_sample_has_the_stated_counts_and_is_balanced():
    train, test, classes = fashion_mnist.read_fashion_mnist("")
    assert classes == fashion_mnist.CLASSES
    for (images, labels), per_class in ((train, 500), (test, 100)):
        assert images.shape == (10 * per_class, 28, 28, 1)
        assert np.bincount(labels).tolist() == [per_class] * 10
    assert len(np.unique(train[0].reshape(5000, -1), axis=0)) > 4990


def test_sample_is_small_and_carries_its_license():
    folder = resources.files("resnet_alexnet.data.readers")
    assert len(folder.joinpath("fashion_mnist_sample.npz").read_bytes()) <= 3_000_000
    notice = folder.joinpath("fashion_mnist_sample.LICENSE").read_text()
    assert "Zalando SE" in notice
    assert "Permission is hereby granted, free of charge" in notice


@needs_debian
def test_sample_is_the_first_of_each_class_of_the_published_files():
    with gzip.open(DEBIAN / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(DEBIAN / "train-labels-idx1-ubyte.gz") as file:
        labels = file.read()[8:]
    seen, chosen = [0] * 10, []
    for index, label in enumerate(labels):
        if seen[label] < 500:
            seen[label] += 1
            chosen.append(index)
    (sample_images, sample_labels), _ = fashion_mnist.read_sample()
    np.testing.assert_array_equal(sample_images[..., 0], images[chosen])
    assert sample_labels.tolist() == [labels[index] for index in chosen]


@needs_debian
def test_sample_is_made_again_to_the_same_arrays(tmp_path):
    fashion_mnist.make_sample(DEBIAN, tmp_path / "sample.npz")
    embedded = resources.files("resnet_alexnet.data.readers").joinpath("fashion_mnist_sample.npz")
    with embedded.open("rb") as file, np.load(file) as ours, np.load(tmp_path / "sample.npz") as again:
        assert sorted(ours) == sorted(again)
        for key in ours:
            np.testing.assert_array_equal(ours[key], again[key])
