"""From a config to the data: what does not go together."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from configs import default
from resnet_alexnet.data.sources import Splits
from resnet_alexnet.data.statistics import Statistics
from resnet_alexnet.errors import InputError
from resnet_alexnet.train import inputs
from tests.support.photo_sets import create_source, write_folder


@pytest.mark.parametrize(
    ("name", "crop", "remedy"),
    [
        ("image_folder", "none", r"set augment\.crop='random_crop' and preprocess\.image_size"),
        ("npz", "none", "crop the arrays in the file"),
        ("npz", "random_crop", "crop the arrays in the file"),  # which is for photographs
    ],
)
def test_images_that_are_no_squares_are_told_what_helps(tmp_path, name, crop, remedy):
    images, labels = np.zeros((4, 16, 20, 3), np.uint8), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=labels)
    write_folder(tmp_path, size=(16, 20))
    config = default.get_config()
    config.dataset.name = name
    config.dataset.data_dir = str(tmp_path / "set.npz" if name == "npz" else tmp_path)
    config.dataset.validation_fraction = 0.0 if name == "npz" else 0.25
    if crop != "none":
        config.augment.crop, config.preprocess.shorter_side = crop, 16
        config.augment.scale = (16, 16)
        config.preprocess.image_size = 16
    with pytest.raises(InputError, match=rf"^the images are 20 x 16 pixels, but networks take square images: {remedy}"):
        inputs.read_splits(config.dataset, config.preprocess, config.augment)


@pytest.mark.parametrize("crop", ["random_crop", "random_resized_crop", "none"])
def test_photographs_are_decoded_to_gray_on_request(tmp_path, crop):
    """In training, tests and evaluation alike."""
    write_folder(tmp_path, size=(32, 32))
    config = default.get_config()
    config.dataset.name, config.dataset.data_dir, config.dataset.channels = "image_folder", str(tmp_path), 1
    config.augment.crop, config.augment.pad = crop, 0
    config.preprocess.image_size = 32 if crop == "none" else 28
    splits = inputs.read_splits(config.dataset, config.preprocess, config.augment)
    made = inputs.create_inputs(splits, config.preprocess, config.augment)
    size = config.preprocess.image_size
    assert splits.train.image_shape == splits.validation.image_shape == (size, size, 1)
    assert splits.train.gather(np.array([0, 3]), (0, 0))["image"].shape == (2, size, size, 1)
    assert made.preprocessing.channels == 1
    assert made.preprocessing.mean.shape == (size, size, 1)
    assert made.preprocessing.std.shape == (1,)
    _, whole = inputs.read_split(config.dataset, "train")
    with Image.open(tmp_path / "train" / "ant" / "00.jpg") as photograph:
        photograph.draft("L", photograph.size)  # the file's luma, not computed from rounded colors
        np.testing.assert_array_equal(whole.example(0)[0][:, :, 0], np.asarray(photograph))
    with pytest.raises(InputError, match=r"^dataset.channels=2 \(allowed for photographs: 3, or 1 for gray\)"):
        inputs.read_splits({**config.dataset, "channels": 2}, config.preprocess, config.augment)


def test_the_mean_of_gray_photographs_is_not_the_stored_one_of_colors(tmp_path):
    stored = Statistics(1, np.zeros((32, 32, 3)), np.eye(3))
    source = create_source(write_folder(tmp_path))
    gray = dataclasses.replace(source, image_shape=(24, 24, 1))
    for train, channels in ((source, 3), (gray, 1)):
        assert (
            inputs.read_statistics(Splits(train, None, None, stored), shorter_side=32).pixel_mean.shape[2] == channels
        )
    assert inputs.read_statistics(Splits(source, None, None, stored), shorter_side=32).count == 1


def test_class_weights_are_those_of_the_photographs_to_train_on(tmp_path):
    write_folder(tmp_path, per_class=4, classes=("ant", "bee"))
    write_folder(tmp_path, per_class=12, classes=("cat",))
    source = create_source(tmp_path)
    assert inputs.balanced_weights(source) == pytest.approx((20 / 12, 20 / 12, 20 / 36))
    unknown = dataclasses.replace(source, photos=SimpleNamespace(labels=None, classes=source.classes))
    with pytest.raises(InputError, match=r"loss.class_weights='balanced' needs the number of images of each class"):
        inputs.balanced_weights(unknown)
