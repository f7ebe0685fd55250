"""Images and labels held in memory."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int32, UInt8

from resnet_alexnet.errors import InputError

Draw = tuple[int, int]  # (seed, epoch); with the example's index it determines a random crop


def check_distinct(name: str, classes: Sequence[str]) -> None:
    """Raises InputError if two classes of the set `name` have the same name: classes are told apart by it."""
    if len(set(classes)) < len(classes):
        twice = next(one for one in classes if list(classes).count(one) > 1)
        raise InputError(f"{name} has {list(classes).count(twice)} classes called {twice!r}: give each its own name")


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySource:
    """A source held in memory. The arrays are checked when it is created.

    Attributes:
        images: all images.
        labels: the class index of each image.
        classes: class names.
        name: name of the data in error messages.

    Raises:
        InputError: the set is empty; an array has the wrong type or shape; a label is not an index into `classes`; two
            classes have the same name.
    """

    images: UInt8[np.ndarray, "num_examples height width channels"]
    labels: Int32[np.ndarray, "num_examples"]
    classes: tuple[str, ...]
    name: str = "source"

    def __post_init__(self):
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4:
            raise InputError(
                f"{self.name}: images are {images.dtype} of shape {images.shape}; "
                "they must be uint8 (num_examples, height, width, channels)"
            )
        if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
            raise InputError(
                f"{self.name}: labels are {labels.dtype} of shape {labels.shape}; "
                f"they must be int32 of shape {images.shape[:1]}, one per image"
            )
        if 0 in images.shape[1:]:
            raise InputError(f"{self.name}: images of shape {images.shape[1:]} have no pixels")
        if not len(images):
            raise InputError(f"{self.name} has no images")
        check_distinct(self.name, self.classes)
        bad = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if len(bad):
            raise InputError(
                f"{self.name}: the label of image {bad[0]} is {labels[bad[0]]} "
                f"(allowed: 0 to {len(self.classes) - 1}, one per class)"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image, in pixels."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def gather(self, indices: Int[np.ndarray, "batch"], draw: Draw | None = None) -> dict[str, np.ndarray]:
        """Returns the examples at `indices`: `image` UInt8 (batch, height, width, channels), `label` Int32 (batch,).

        `draw` is ignored: images in memory are augmented on the device.
        """
        return {"image": self.images[indices], "label": self.labels[indices]}

    def example(self, index: int) -> tuple[UInt8[np.ndarray, "height width channels"], int]:
        """Returns the image at `index`, unchanged, and its label."""
        return self.images[index], int(self.labels[index])

    def where(self, index: int) -> str:
        """Returns the index as the image's name in messages."""
        return str(index)
