"""The layouts of published torch weights: the names of the layers, and the options and preprocessing they imply.

Source: torchvision.models.alexnet and resnet, whose names timm's resnet18 to resnet152 share, and the evaluation that
torchvision publishes with its weights; for CIFAR github.com/akamaster/pytorch_resnet_cifar10, which also normalizes
with the mean and standard deviation of ImageNet.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_alexnet.data.readers.imagenet_classes import imagenet_classes
from resnet_alexnet.errors import InputError
from resnet_alexnet.models.alexnet import map_size
from resnet_alexnet.pretrained.mapping import CONVOLUTION, LINEAR, MAP_LINEAR, NORM, Table
from resnet_alexnet.pretrained.preprocessing import Preprocessing

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
MODELS = "alexnet_owt, resnet18, resnet34, resnet50, resnet101, resnet152, cifar_resnet{6n+2}"

_RESNET_BODY: Table = (
    *((rf"stages/{i}/(\d+)/conv(\d)/conv", rf"layer{i + 1}.\1.conv\2", CONVOLUTION) for i in range(4)),
    *((rf"stages/{i}/(\d+)/conv(\d)/norm", rf"layer{i + 1}.\1.bn\2", NORM) for i in range(4)),
    ("stem/conv1/conv", "conv1", CONVOLUTION),
    ("stem/conv1/norm", "bn1", NORM),
)
RESNET: Table = (
    *_RESNET_BODY,
    *((rf"stages/{i}/(\d+)/shortcut/projection/conv", rf"layer{i + 1}.\1.downsample.0", CONVOLUTION) for i in range(4)),
    *((rf"stages/{i}/(\d+)/shortcut/projection/norm", rf"layer{i + 1}.\1.downsample.1", NORM) for i in range(4)),
    ("head", "fc", LINEAR),
)
CIFAR_RESNET: Table = (*_RESNET_BODY, ("head", "linear", LINEAR))
ALEXNET_OWT: Table = (
    ("conv1", "features.0", CONVOLUTION),
    ("conv2", "features.3", CONVOLUTION),
    ("conv3", "features.6", CONVOLUTION),
    ("conv4", "features.8", CONVOLUTION),
    ("conv5", "features.10", CONVOLUTION),
    ("fc6", "classifier.1", MAP_LINEAR),
    ("fc7", "classifier.4", LINEAR),
    ("fc8", "classifier.6", LINEAR),
)


@dataclass(frozen=True)
class TorchLayout:
    """The layout of torch weights.

    Attributes:
        table: the names and kinds of the layers.
        head: the name of the array whose first axis is the logits.
        options: options of our model that compute the same as torch's code. Other values give another network.
        in_training: options that match torch's code in training only. The weights fit any value of them.
        cifar: whether images are 32 x 32 without resizing, else crops of photographs.
    """

    table: Table
    head: str
    options: Mapping[str, Any]
    in_training: Mapping[str, Any]
    cifar: bool


def layout(model: str, image_size: int) -> TorchLayout:
    """The torch layout of one of our models; `image_size` is the side of its images in pixels.

    Raises:
        InputError: the model has no torch layout.
    """
    unbiased = {"bn_unbiased_variance": True}
    if model == "alexnet_owt":
        options = {"activation": "relu", "dropout_scaling": "inverted"}
        if map_size(image_size) != 6:  # torch averages the map to 6 x 6
            options["last_map"] = "averaged"
        return TorchLayout(ALEXNET_OWT, "classifier.6.weight", options, {}, cifar=False)
    if re.fullmatch(r"resnet\d+", model):
        options = {"activation": "relu", "shortcut": "B", "pool_padding": "torch"}
        if model not in ("resnet18", "resnet34"):
            options["stride_in"] = "3x3"
        return TorchLayout(RESNET, "fc.weight", options, unbiased, cifar=False)
    if model.startswith("cifar_resnet"):
        options = {"activation": "relu", "shortcut": "A", "shortcut_padding": "both"}
        return TorchLayout(CIFAR_RESNET, "linear.weight", options, unbiased, cifar=True)
    hint = "; torchvision's own alexnet is alexnet_owt" if model.startswith("alexnet") else ""
    raise InputError(f"{model} has no weights with torchvision's names (allowed: {MODELS}{hint})")


def preprocessing(*, cifar: bool, num_classes: int, channels: int = 3) -> Preprocessing:
    """The usual preprocessing of such weights. Unknown classes are named by their numbers; one channel has the mean."""
    names = {True: {10: CIFAR10_CLASSES}, False: {1000: imagenet_classes()}}
    mean, std = (np.array(values, np.float32) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return Preprocessing(
        image_size=32 if cifar else 224,
        channels=channels,
        mean=255 * (mean if channels == 3 else np.full(channels, mean.mean())),
        std=255 * (std if channels == 3 else np.full(channels, std.mean())),
        classes=names[cifar].get(num_classes, tuple(map(str, range(max(2, num_classes))))),  # one logit: two classes
        shorter_side=None if cifar else 256,
        interpolation="bilinear_antialiased",
    )
