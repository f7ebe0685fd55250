"""Small sets of real JPEG files, as image folders; some files are damaged on request."""

from functools import partial
from pathlib import Path

from resnet_alexnet.data.images import geometry
from resnet_alexnet.data.photos import PhotoSource
from resnet_alexnet.data.readers.image_folder import read_image_folder
from tests.support.images import encode, photograph

SIZE = 24  # pixels, side of the views


def write_folder(
    folder: Path,
    *,
    split: str = "train",
    per_class: int = 12,
    classes: tuple[str, ...] = ("ant", "bee", "cat"),
    size=None,
):
    """Writes split/class/NN.jpg; photographs of many sizes, or all of one; no two alike."""
    for label, name in enumerate(classes):
        (folder / split / name).mkdir(parents=True)
        for number in range(per_class):
            height, width = size or (30 + 3 * number, 60 - 2 * number)
            image = photograph(height, width, seed=1000 * label + number)
            (folder / split / name / f"{number:02}.jpg").write_bytes(encode(image))
    return folder


def damage(folder: Path, *names: str):
    """Cuts files such as "ant/03.jpg" of the training split off in the middle."""
    for name in names:
        path = folder / "train" / name
        path.write_bytes(path.read_bytes()[:-200])


def create_source(folder: Path, *, split: str = "train") -> PhotoSource:
    """The folder's photographs as random-resized crops of SIZE pixels."""
    return PhotoSource(
        read_image_folder(folder)[split],
        (SIZE, SIZE, 3),
        train_crop=geometry.RandomResizedCrop(
            size=SIZE,
            area=(0.08, 1.0),
            aspect=(0.75, 4 / 3),
            interpolation="bilinear",
        ),
        test_crop=partial(geometry.resize_center_crop, size=SIZE, shorter_side=28, interpolation="bilinear"),
    )
