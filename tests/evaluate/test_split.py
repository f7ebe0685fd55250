"""Scores of whole splits: of arrays, image folders and sets of TFDS, each image with its own label and name."""

import jax
import numpy as np
import pytest

from resnet_alexnet import parallel
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.images.decode import decode
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.evaluate.split import score_split
from resnet_alexnet.train import inputs
from tests.support import tfds_sets, tiny
from tests.support.images import encode, photograph
from tests.support.networks import CLASSES, create_network
from tests.support.photo_sets import write_folder


@pytest.fixture(scope="module")
def network():
    return create_network(size=16, shorter_side=20)


def scores_of(network, split, source, **settings):
    scores = score_split(
        {"net": network},
        split,
        source,
        settings=settings,
        protocol=TestProtocol(),
        mesh=parallel.create_mesh(jax.devices()[:1]),
        batch_size=4,
    )
    return scores["net"]


def expected(network, images):
    names = [str(number) for number in range(len(images))]
    alone = [
        ArraySource(image[np.newaxis], np.zeros(1, np.int32), CLASSES, name=name)
        for name, image in zip(names, images, strict=True)
    ]
    return np.concatenate([scores_of(network, "test", source).scores for source in alone])


def folder_config(folder, **fields):
    data = {"dataset__name": "image_folder", "dataset__data_dir": str(folder), "dataset__channels": 3}
    return tiny.config(**{**data, **fields})


def read_split(config, split=""):
    return inputs.read_split(config.dataset, split, image_size=config.preprocess.image_size)


@pytest.fixture
def folder(tmp_path):
    """Photographs of many sizes."""
    write_folder(tmp_path, per_class=4)
    return write_folder(tmp_path, split="test", per_class=3)


def test_a_folder_of_photographs(network, folder):
    split, source = read_split(folder_config(folder))
    scores = scores_of(network, split, source, dataset="image_folder")
    assert split == "test"
    assert scores.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert scores.names == tuple(f"test/{name}/{number:02}.jpg" for name in CLASSES for number in range(3))
    images = [source.example(index)[0] for index in range(9)]
    np.testing.assert_allclose(scores.scores, expected(network, images), rtol=1e-4, atol=1e-6)
    assert scores.settings == {
        "network": "net",
        "model": "cifar_resnet8",
        "options": {},
        "image_size": 16,
        "shorter_side": 20,
        "dataset": "image_folder",
    }


def test_a_folder_that_is_moved_is_the_same_split(network, folder, tmp_path_factory):
    moved = tmp_path_factory.mktemp("elsewhere") / "photos"
    before = scores_of(network, *read_split(folder_config(folder)))
    folder.rename(moved)
    after = scores_of(network, *read_split(folder_config(moved)))
    assert before.split_digest == after.split_digest


def test_a_tfds_set(network, tmp_path):
    def example(split, number):
        image = photograph(30, 24 + number, seed=number + 100 * (split == "test"))
        return {"image": encode(image, "PNG"), "label": number % 3, "file_name": f"{split}_{number}.png"}

    tfds_sets.write_set(tmp_path, {"train": [12], "test": [3, 2]}, example=example)
    config = tiny.config(dataset__name="animals", dataset__data_dir=str(tmp_path))
    scores = scores_of(network, *read_split(config))
    assert scores.labels.tolist() == [0, 1, 2, 0, 1]
    assert scores.names[4] == "test/animals-test.array_record-00001-of-00002 record 1 (test_4.png)"
    images = [photograph(30, 24 + number, seed=number + 100) for number in range(5)]
    np.testing.assert_allclose(scores.scores, expected(network, images), rtol=1e-4, atol=1e-6)


def test_arrays_of_two_splits_are_different_images(network):
    network = create_network(size=8, channels=1, classes=tuple(f"class_{number}" for number in range(10)))
    config = tiny.config(dataset__num_examples=100, dataset__validation_fraction=0.2)
    test, validation = (scores_of(network, *read_split(config, split)) for split in ("test", "validation"))
    assert (len(test.names), test.names[7]) == (20, "test/7")
    assert np.array_equal(test.labels, validation.labels)
    assert test.split_digest != validation.split_digest


def test_an_unreadable_photograph_is_named(network, folder):
    (folder / "test" / "bee" / "01.jpg").write_bytes(b"no photograph")
    with pytest.raises(InputError, match=r"test.bee.01\.jpg cannot be read: it is not an image of a known format"):
        scores_of(network, *read_split(folder_config(folder)))
    config = folder_config(folder, dataset__validation_fraction=0.25)
    other = scores_of(network, *read_split(config, "validation"))  # is not looked at
    assert other.names == ("validation/ant/03.jpg", "validation/bee/03.jpg", "validation/cat/03.jpg")


def test_classes_are_matched_by_name_in_any_order_and_number(folder):
    """The network's order is not that of the folders, which are sorted; and it has classes that the folder lacks."""
    classes = ("cat", "dog", "ant", "elk", "bee")
    network = create_network(size=16, shorter_side=20, classes=classes)
    scores = scores_of(network, *read_split(folder_config(folder)))
    assert scores.classes == classes
    assert scores.scores.shape == (9, 5)
    assert [scores.classes[label] for label in scores.labels] == ["ant"] * 3 + ["bee"] * 3 + ["cat"] * 3


def test_classes_that_the_network_lacks_are_named(folder):
    other = create_network(size=16, shorter_side=20, classes=("ant", "bee", "dog"))
    with pytest.raises(InputError, match="net lacks 1 of the 3 classes of the data: 'cat'"):
        scores_of(other, *read_split(folder_config(folder)))


def test_photographs_are_decoded_to_the_channels_of_the_network_whatever_the_config_says(folder):
    network = create_network(size=16, shorter_side=20, channels=1)
    one, three = (
        scores_of(network, *read_split(folder_config(folder, dataset__channels=channels))) for channels in (1, 3)
    )
    np.testing.assert_array_equal(one.scores, three.scores)
    gray = [decode((folder / "test" / "ant" / f"{n:02}.jpg").read_bytes(), channels=1) for n in range(3)]
    np.testing.assert_allclose(three.scores[:3], expected(network, gray), rtol=1e-4, atol=1e-6)
