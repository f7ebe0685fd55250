"""The classes of ImageNet's 2012 challenge: their WordNet IDs, in the order of every network's logits, and words."""

import functools
import importlib.resources


@functools.cache
def _words() -> dict[str, str]:
    text = importlib.resources.files("resnet_alexnet.data.readers").joinpath("imagenet_classes.txt").read_text("utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 WordNet IDs of ILSVRC 2012, sorted, which is the order of the logits of published networks."""
    return tuple(_words())


def display_name(name: str) -> str:
    """What a class is called: a word of WordNet for an ID of ImageNet's classes, any other name as it is."""
    return _words().get(name, name)
