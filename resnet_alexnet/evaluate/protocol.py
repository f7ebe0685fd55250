"""Test protocols: the views of an image, the scales, and how results are averaged over them."""

from dataclasses import asdict, dataclass
from typing import Any

from resnet_alexnet import models
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.evaluate.crops import CORNERS, VIEWS, ViewSpec
from resnet_alexnet.files import is_guest
from resnet_alexnet.models.trace import layer_calls
from resnet_alexnet.pretrained.network import SCORES, ModelSpec

AVERAGES = ("probabilities", "logits")
LARGEST_SCALE = 4096  # pixels


@dataclass(frozen=True)
class TestProtocol:
    """A test protocol, the same for all networks and images.

    Attributes:
        views: "center", "ten_crop" ([K12] section 4.1) or "fully_convolutional" (Simonyan and Zisserman 2015 section
            3.2, [H15] section 3.4); see `crops.ViewSpec`.
        scales: sizes in pixels to which the shorter side is resized, one after another; 224, 256, 384, 480 and 640 in
            [H15] section 3.4. Empty: each network's own scale.
        average: what to average over views and scales, with equal weights: "probabilities", or "logits", which become
            probabilities afterwards. Over the positions of a whole photograph the models average logits or features.
        scores: how logits become probabilities, "softmax" or "sigmoid"; empty: each network's own.
        flip: also test the mirror image of each view. None: yes for ten crops, which are five crops and their mirror
            images, and for whole photographs, as both sources do; no for the center.
        corners: the corners of ten crops, see `crops.ViewSpec`.

    Raises:
        InputError: the value of a field is not allowed.
    """

    __test__ = False  # keeps pytest from collecting this class as a test

    views: str = "center"
    scales: tuple[int, ...] = ()
    average: str = "probabilities"
    scores: str = ""
    flip: bool | None = None
    corners: str = "square"

    def __post_init__(self):
        for name, allowed in (("views", VIEWS), ("average", AVERAGES), ("corners", CORNERS)):
            check_name(name, getattr(self, name), allowed)
        if self.scores:
            check_name("scores", self.scores, SCORES)
        if self.views == "ten_crop" and self.flip is False:
            raise InputError(
                "flip=False conflicts with views='ten_crop', five crops and their mirror images: leave flip out"
            )
        for scale in self.scales:
            if not 1 <= scale <= LARGEST_SCALE or self.scales.count(scale) > 1:
                raise InputError(f"scales={self.scales} (allowed: pixels from 1 to {LARGEST_SCALE}, each once)")

    @property
    def mirrored(self) -> bool:
        """Whether the mirror image of each view is also tested."""
        return self.views != "center" if self.flip is None else self.flip

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "scales": list(self.scales), "mirrored": self.mirrored}

    def view_specs(self, network: ModelSpec) -> tuple[ViewSpec, ...]:
        """The view specs for `network`, one per scale.

        Raises:
            InputError: a scale is missing, or too small for the network's crops.
        """
        preprocessing = network.preprocessing
        for scale in self.scales or (preprocessing.shorter_side,):
            if scale is None and self.views != "center":
                raise InputError(
                    f"views={self.views!r} needs scales for {network.model}, which takes images of "
                    f"{preprocessing.image_size} pixels without resizing: set scales"
                )
            if scale is not None and scale < preprocessing.image_size and self.views != "fully_convolutional":
                raise InputError(
                    f"scales={scale} is smaller than the crops of {preprocessing.image_size} pixels that "
                    f"{network.model} takes (allowed: {preprocessing.image_size} or more)"
                )
        return tuple(
            ViewSpec(
                self.views,
                preprocessing.image_size,
                scale,
                self.corners,
                preprocessing.interpolation,
                preprocessing.channels,
            )
            for scale in self.scales or (preprocessing.shorter_side,)
        )

    def model_options(self, network: ModelSpec) -> dict[str, Any]:
        """The options that the network's model needs for this protocol.

        Raises:
            InputError: the model does not support the views, or a scale is too small for it.
        """
        if self.views != "fully_convolutional":
            return {}
        options = models.fully_convolutional_options(network.model)
        model = network.abstract(**options)
        smallest = getattr(model, "smallest", 1)
        for view_spec in self.view_specs(network):
            if view_spec.scale is not None and view_spec.scale < smallest:
                raise InputError(
                    f"scales={view_spec.scale} is too small for {network.model} (allowed: {smallest} or more)"
                )
        if is_guest(network.model):  # whose class need not have said that it cannot
            size, channels = network.preprocessing.image_size, network.preprocessing.channels
            try:
                layer_calls(model, (size + 32, size + 64, channels))
            except InputError as error:
                raise InputError(f"{network.model} cannot be tested fully convolutionally: {error}") from None
        return options
