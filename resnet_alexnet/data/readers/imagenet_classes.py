"""The classes of the ImageNet 2012 challenge: WordNet IDs, in the order of the logits, and words."""

import functools
import importlib.resources


@functools.cache
def _words() -> dict[str, str]:
    text = importlib.resources.files("resnet_alexnet.data.readers").joinpath("imagenet_classes.txt").read_text("utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())


def imagenet_classes() -> tuple[str, ...]:
    """Returns the 1,000 WordNet IDs of ILSVRC 2012, sorted. Published networks have their logits in this order."""
    return tuple(_words())


def display_name(name: str) -> str:
    """Returns the WordNet word for the ID of an ImageNet class, and any other class name unchanged."""
    return _words().get(name, name)
