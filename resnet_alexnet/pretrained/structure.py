"""What the arrays of a network show of it: which of the papers' networks it is, and some of its options."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_alexnet.errors import InputError
from resnet_alexnet.models import MODELS
from resnet_alexnet.models.blocks import Bottleneck, PlainBlock
from resnet_alexnet.models.resnet import ImageNetStem

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Structure:
    """What the arrays show.

    Attributes:
        model: the network of the papers.
        plain: the plain network with the same arrays, if there is one: shortcuts of option A have no arrays.
        options: options of the model, where they are not its default.
        widths: the options `width` and `stem_width` in any case.
        num_logits: logits per image; None if the arrays lack the last layer.
        channels: color channels of the images.
    """

    model: str
    plain: str | None
    options: Mapping[str, Any]
    widths: Mapping[str, int]
    num_logits: int | None
    channels: int


def read_structure(arrays: Arrays, *, where: str) -> Structure:
    """Reads the structure of a network from its arrays, by torchvision's names.

    Raises:
        InputError: it is not a network of the papers. The message says what it is.
    """
    if "features.0.weight" in arrays:
        head = arrays.get("classifier.6.weight")
        return Structure(
            "alexnet_owt", None, {}, {}, None if head is None else len(head), arrays["features.0.weight"].shape[1]
        )
    stem, head = arrays["conv1.weight"], arrays.get("fc.weight")
    blocks = {(int(m[1]), int(m[2])) for name in arrays if (m := re.match(r"layer(\d+)\.(\d+)\.", name))}
    sizes = tuple(
        sum(stage == number for stage, _ in blocks) for number in range(1, 1 + max(stage for stage, _ in blocks))
    )
    bottleneck = any(".conv3." in name for name in arrays)
    residual, plain = _networks().get((sizes, bottleneck, stem.shape[2]), (None, None))
    if residual is None:
        kind = "bottleneck" if bottleneck else "basic"
        raise InputError(
            f"{where} holds a network of {'+'.join(map(str, sizes))} {kind} blocks behind a convolution of "
            f"{stem.shape[2]}x{stem.shape[3]}, which is not one of the papers' (a first convolution of 7x7 has four "
            "stages, as ImageNet's networks; one of 3x3 three stages of equal sizes, as CIFAR's)"
        )
    projections = {name.split(".downsample")[0] for name in arrays if ".downsample.0.weight" in name}
    options: dict[str, Any] = {"shortcut": "A"}
    if projections:
        options["shortcut"] = "C" if len(projections) == len(blocks) else "B"
    first = arrays.get("layer1.0.conv1.weight")
    widths = {"width": len(stem if first is None else first), "stem_width": len(stem)}
    paper = MODELS[residual].args[2].width
    if widths["width"] != paper:
        options["width"] = widths["width"]
    if widths["stem_width"] != widths["width"]:
        options["stem_width"] = widths["stem_width"]
    return Structure(
        residual,
        plain=None if projections else plain,
        options=options,
        widths=widths,
        num_logits=None if head is None else len(head),
        channels=stem.shape[1],
    )


@functools.cache
def _networks() -> dict[tuple[tuple[int, ...], bool, int], tuple[str, str | None]]:
    """The residual network, and the plain one, by blocks per stage, kind of block and size of the first convolution."""
    networks: dict[tuple[tuple[int, ...], bool, int], tuple[str, str | None]] = {}
    plain: dict[tuple[tuple[int, ...], bool, int], str] = {}
    for name, model in MODELS.items():
        if isinstance(model, functools.partial) and len(model.args) == 3:
            sizes, block, stem = model.args
            key = sizes, block is Bottleneck, 7 if stem is ImageNetStem else 3
            if block is PlainBlock:
                plain[key] = name
            else:
                networks[key] = name, None
    return {key: (name, plain.get(key)) for key, (name, _) in networks.items()}


def fold_biases(arrays: Arrays) -> tuple[dict[str, np.ndarray], list[str]]:
    """Moves the biases of convolutions into the means of the batch normalization behind them; gives a bias to the head.

    In testing a bias before batch normalization only shifts its input, so a mean that is smaller by it does the same.

    Returns:
        The arrays, and the names of the biases that were moved.
    """
    folded = dict(arrays)
    moved = []
    for name in arrays:
        if match := re.fullmatch(r"(.*)(?:conv(\d)|downsample\.0)\.bias", name):
            mean_name = f"{match[1]}{f'bn{match[2]}' if match[2] else 'downsample.1'}.running_mean"
            if (mean := arrays.get(mean_name)) is not None and mean.shape == arrays[name].shape:
                folded[mean_name] = mean - folded.pop(name)
                moved.append(name)
    if "fc.weight" in folded and "fc.bias" not in folded:
        folded["fc.bias"] = np.zeros(len(folded["fc.weight"]), np.float32)
    return folded, moved
