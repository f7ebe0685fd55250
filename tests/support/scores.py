"""Scores: made up, and of networks."""

import dataclasses

import jax
import numpy as np

from resnet_alexnet import parallel
from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.evaluate.scores import Scores
from resnet_alexnet.evaluate.scoring import score_images


def make_scores(images=7, classes=("ant", "bee", "cät"), *, seed=0, **fields):
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.ones(len(classes)), images).astype(np.float32)
    record = Scores(
        scores=values,
        labels=(np.arange(images) % len(classes)).astype(np.int32),
        names=tuple(f"test/{number:02} é.jpg" for number in range(images)),
        classes=tuple(classes),
        settings={"views": "center", "scales": [224, 256]},
    )
    return dataclasses.replace(record, **fields)


def scores_of_images(networks, images, *, devices=1, batch_size=3, **protocol):
    """What networks say to images in memory."""
    return score_images(
        networks,
        lambda index: images[index],
        len(images),
        protocol=TestProtocol(**protocol),
        mesh=parallel.create_mesh(jax.devices()[:devices]),
        batch_size=batch_size,
    )
