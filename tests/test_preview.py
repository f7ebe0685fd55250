"""The picture of what a network is trained on."""

import numpy as np
import pytest
from PIL import Image

from configs import default
from resnet_alexnet import preview
from resnet_alexnet.errors import InputError
from resnet_alexnet.plots import grid
from tests.support import processes, tiny
from tests.support.photo_sets import write_folder

TINY = processes.words(tiny.config())


@pytest.fixture
def drawn(monkeypatch):
    """What is handed to the grid."""
    pictures = []
    monkeypatch.setattr(grid, "draw", lambda rows, path: pictures.append(rows))
    return pictures


def draw(config, **options):
    preview.draw_preview(config, None, **{"images": 3, "epochs": 2, **options})


def test_without_augmentation_the_views_are_the_images(drawn):
    draw(tiny.config(augment__pad=0, augment__flip=False))
    (rows,) = drawn
    assert [len(row) for row in rows] == [3, 3, 3]
    for row in rows:
        assert row[0][1] == "test"
        assert {caption for _, caption in row[1:]} <= {f"class_{label}" for label in range(10)}
        for image, _ in row[1:]:
            np.testing.assert_array_equal(image, row[0][0])


def test_views_differ_from_epoch_to_epoch(drawn):
    draw(tiny.config(), images=2, epochs=5)
    (rows,) = drawn
    for row in rows:
        assert len({image.tobytes() for image, _ in row[1:]}) > 1


def test_mixed_images_say_what_they_are_made_of(drawn):
    draw(tiny.config(augment__mixup=1.0, augment__pad=0, augment__flip=False), images=3, epochs=3)
    row = drawn[0][0]  # its partner, 45 images on, is of another class
    for image, caption in row[1:]:
        shares = [int(part.split()[0]) for part in caption.split("\n")]
        assert len(shares) == 2
        assert abs(sum(shares) - 100) <= 1
        assert not np.array_equal(image, row[0][0])


def test_photographs_are_cropped_as_in_training(drawn, tmp_path):
    config = default.get_config()
    config.update_from_flattened_dict(
        {
            "model.name": "cifar_resnet8",
            "dataset.name": "image_folder",
            "dataset.data_dir": str(write_folder(tmp_path)),
            "preprocess.image_size": 24,
            "preprocess.shorter_side": 28,
            "augment.crop": "random_crop",
            "augment.scale": (28, 36),
            "augment.color": "pca",
            "augment.pad": 0,
            "batch_size": 256,  # more than there are
            "model.bn_group": 32,
        }
    )
    draw(config)
    (rows,) = drawn
    assert all(image.shape == (24, 24, 3) for row in rows for image, _ in row)
    assert all(image.dtype == np.uint8 for row in rows for image, _ in row)


def test_the_command_writes_a_picture(tmp_path, capsys):
    output = tmp_path / "views.png"
    preview.main([*TINY, f"--output={output}", "--images=2", "--epochs=3"])
    assert capsys.readouterr().out == f"wrote {output}\n"
    with Image.open(output) as picture:
        assert picture.width > picture.height  # two rows of four
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config is missing"),
        ([*TINY, "--images=none"], "--images=none .allowed: a whole number from 1 to 50"),
        ([*TINY, "--epochs=0"], "--epochs=0"),
        ([*TINY, "--output=views.jpg"], "--output=views.jpg .allowed: a file that ends in .png"),
        ([*TINY, "--output=nowhere/views.png"], "in a folder that exists"),
        ([*TINY, "--imagse=3"], "did you mean '--images'"),
        ([*TINY, "--config.augment.colour=pca"], "did you mean 'color'"),
        ([*TINY, "--config.augment.color=pca"], "images with 3 channels"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        preview.main(arguments)
    assert "\n" not in str(error.value)
