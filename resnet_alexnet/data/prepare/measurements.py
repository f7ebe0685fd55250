"""Running sums over the training photographs, for the statistics that are stored with a prepared set."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from resnet_alexnet.data.prepare.recode import SIDE, central_square
from resnet_alexnet.data.statistics import Moments, Statistics
from resnet_alexnet.errors import InputError


class Measurements:
    """Running sums over photographs. The result does not depend on the order of photographs or merges.

    `squares` are the sums over the central 256 x 256 of each photograph with shorter side 256 ([K12] section 2).
    `whole` are the sums over the unchanged images, as long as all have the same size, below 256 x 256; else None.
    """

    def __init__(self) -> None:
        self.squares = Moments()
        self.whole: Moments | None = Moments()

    def add(self, image: UInt8[np.ndarray, "height width 3"]) -> None:
        """Adds a photograph."""
        self.squares.add(central_square(image)[np.newaxis])
        whole = None
        if self.whole is not None and max(image.shape[:2]) < SIDE:
            whole = Moments()
            whole.add(image[np.newaxis])
        self._merge_whole(whole)

    def merge(self, other: "Measurements") -> None:
        """Adds the sums of `other`."""
        self.squares.merge(other.squares)
        self._merge_whole(other.whole)

    def finish(self) -> Statistics:
        """Returns the statistics of the unchanged images if they are small and of one size, else of the squares.

        Raises:
            InputError: no photograph was added.
        """
        return (self.whole or self.squares).finish()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns the sums as arrays to save. They fit for up to 16 million photographs."""
        arrays = {}
        for name, moments in (("squares", self.squares), ("whole", self.whole)):
            if moments is not None and moments.sum is not None and moments.products is not None:
                arrays[f"{name}_count"] = np.array(moments.count)
                arrays[f"{name}_sum"] = moments.sum.astype(np.uint32)  # half the size, which saves 1 GB for ImageNet
                arrays[f"{name}_products"] = moments.products
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Any) -> "Measurements":
        """Restores the sums from the arrays of `to_arrays`, in a dict or an open .npz file."""
        read = {}
        for name in ("squares", "whole"):
            read[name] = Moments()
            if f"{name}_count" in arrays:
                read[name].count = int(arrays[f"{name}_count"])
                read[name].sum = arrays[f"{name}_sum"].astype(np.int64)
                read[name].products = arrays[f"{name}_products"]
        measurements = cls()
        measurements.squares = read["squares"]
        measurements.whole = read["whole"] if read["whole"].count == read["squares"].count else None
        return measurements

    def _merge_whole(self, whole: Moments | None) -> None:
        try:
            if self.whole is not None and whole is not None:
                self.whole.merge(whole)
                return
        except InputError:  # images of another size
            pass
        self.whole = None
