"""From a config to the data: what does not go together."""

import numpy as np
import pytest

from configs import default
from resnet_alexnet.errors import InputError
from resnet_alexnet.train import inputs
from tests.support.photo_sets import write_folder


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
