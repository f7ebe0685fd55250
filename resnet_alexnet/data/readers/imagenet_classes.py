"""The classes of the ImageNet 2012 challenge: WordNet IDs, in the order of the logits, and words."""

import functools
import importlib.resources

from resnet_alexnet.errors import printable


@functools.cache
def _words() -> dict[str, str]:
    text = importlib.resources.files("resnet_alexnet.data.readers").joinpath("imagenet_classes.txt").read_text("utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())


def imagenet_classes() -> tuple[str, ...]:
    """Returns the 1,000 WordNet IDs of ILSVRC 2012, sorted. Published networks have their logits in this order."""
    return tuple(_words())


def display_name(name: str) -> str:
    """Returns what to show of a class: the WordNet word for an ID of ImageNet, or its name, made printable."""
    return _words().get(name) or printable(name)
