"""Scores of a whole split of a data set."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnet_alexnet.data.sources import Source, name_images
from resnet_alexnet.evaluate.crops import Pixels
from resnet_alexnet.evaluate.scores import Scores, check_classes
from resnet_alexnet.evaluate.scoring import score_images
from resnet_alexnet.pretrained.network import TrainedModel


def score_split(
    networks: Mapping[str, TrainedModel], split: str, source: Source, *, settings: Mapping[str, Any], **options: Any
) -> dict[str, Scores]:
    """The scores of every network, by its name, on every image of a split.

    Args:
        networks: see `score_images`.
        split: its name, which goes before the images' names: those of arrays are mere numbers.
        source: the split, its images whole, as `inputs.read_split` opens it.
        settings: what to note of how the scores were made, besides the network.
        options: those of `score_images`: procedure, mesh, batch_size, precision and track.

    Raises:
        InputError: classes that are not those of the split, an image that cannot be read; or see `score_images`.
    """
    for name, network in networks.items():
        check_classes(network.spec.preprocessing.classes, source.classes, what=name, than="the data")
    labels = np.empty(len(source), np.int32)
    names = [""] * len(source)

    def read(index: int) -> Pixels:
        # Beside the image: of some sets label and name are known only as its record is read.
        image, labels[index] = source.example(index)
        names[index] = source.where(index)
        return image

    scores = score_images(list(networks.values()), read, len(source), where=source.where, **options)
    images = name_images(split, names)
    described = {
        name: {"network": name, "model": network.spec.model, "options": dict(network.spec.options)}
        for name, network in networks.items()
    }
    return {
        name: Scores(part, labels, images, source.classes, {**described[name], **settings}, name=name)
        for name, part in zip(networks, scores, strict=True)
    }
