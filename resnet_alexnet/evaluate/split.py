"""Scores a whole split of a data set."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from resnet_alexnet.data.photos import PhotoSource, name_images
from resnet_alexnet.data.sources import Source
from resnet_alexnet.evaluate.classes import match_classes
from resnet_alexnet.evaluate.crops import Pixels
from resnet_alexnet.evaluate.scores import Scores
from resnet_alexnet.evaluate.scoring import score_images
from resnet_alexnet.pretrained.network import TrainedModel


def score_split(
    networks: Mapping[str, TrainedModel], split: str, source: Source, *, settings: Mapping[str, Any], **options: Any
) -> dict[str, Scores]:
    """Scores all images of a split with each network.

    The classes are those of the networks. The split may have only some of them, in any order: see `match_classes`.

    Args:
        networks: the networks by name.
        split: the name of the split. It precedes the image names, which for arrays are only numbers.
        source: the split, with whole images, from `inputs.read_split`.
        settings: settings to store with the scores in addition to the description of the network.
        **options: options of `score_images`: protocol, mesh, batch_size, precision and progress.

    Returns:
        The scores by the name of the network.

    Raises:
        InputError: a network does not have a class of the split, an image cannot be read, or `score_images` raises it.
    """
    classes, *_ = (network.spec.preprocessing.classes for network in networks.values())
    new_labels, *_ = (
        match_classes(source.classes, network.spec.preprocessing.classes, network=name)
        for name, network in networks.items()
    )
    source = _in_channels(source, networks)
    labels = np.empty(len(source), np.int32)
    names = [""] * len(source)

    def read(index: int) -> Pixels:
        # Label and name are stored here because in some data sets they are known only once the image is read.
        image, label = source.example(index)
        labels[index] = new_labels[label]
        names[index] = source.where(index)
        return image

    scores = score_images(list(networks.values()), read, len(source), where=source.where, **options)
    images = name_images(split, names)
    return {
        name: Scores(part, labels, images, classes, {**_describe(name, network), **settings}, name=name)
        for (name, network), part in zip(networks.items(), scores, strict=True)
    }


def _describe(name: str, network: TrainedModel) -> dict[str, Any]:
    """The description of a network that is stored with its scores, as JSON values."""
    preprocessing = network.spec.preprocessing
    return {
        "network": name,
        "model": network.spec.model,
        "options": dict(network.spec.options),
        "image_size": preprocessing.image_size,
        "shorter_side": preprocessing.shorter_side,
    }


def _in_channels(source: Source, networks: Mapping[str, TrainedModel]) -> Source:
    """The source with photographs decoded to the channels of the networks, as in training, if these have the same."""
    channels, *others = {network.spec.preprocessing.channels for network in networks.values()}
    if others or not isinstance(source, PhotoSource):
        return source
    return dataclasses.replace(source, image_shape=(*source.image_shape[:2], channels))
