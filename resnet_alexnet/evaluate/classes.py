"""The classes of a data set among those of a network: matched by name, in any order; the data may have only some."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32

from resnet_alexnet.data.readers.imagenet_classes import display_name
from resnet_alexnet.errors import InputError, nearest

_LISTED = 3  # classes that a message names


def match_classes(
    classes: Sequence[str], network_classes: Sequence[str], *, network: str
) -> Int32[np.ndarray, "classes"]:
    """The index in the network's classes of each class of the data.

    Names match if they are equal, or if one is the WordNet ID of an ImageNet class and the other its word, in any case
    and with any separators: n01484850 and Great_White_Shark.

    Args:
        classes: the classes of the data.
        network_classes: the classes of the network, in the order of the scores.
        network: the name of the network in messages.

    Raises:
        InputError: the network does not have a class of the data, a word stands for two classes (Cardigan the dog and
            cardigan the garment), or two classes of the data are the same class.
    """
    found: dict[int, str] = {}
    unknown = []
    by_name = {name: index for index, name in enumerate(network_classes)}
    by_word: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(network_classes):
        by_word[_word(name)].append(index)
    for name in classes:
        exact = by_name.get(name, by_name.get(display_name(name)))
        alike = [
            index
            for index in by_word.get(_word(name), [])
            if _is_wordnet_id(name) or _is_wordnet_id(network_classes[index])
        ]
        matches = alike if exact is None else [exact]
        if len(matches) > 1:
            names = " or ".join(network_classes[index] for index in matches)
            raise InputError(f"{name!r} of the data may be {names} of {network}: name it by its WordNet ID")
        if not matches:
            unknown.append(name)
        elif matches[0] in found:
            raise InputError(f"{found[matches[0]]!r} and {name!r} of the data are one class of {network}: merge them")
        else:
            found[matches[0]] = name
    if unknown:
        raise InputError(
            f"{network} lacks {len(unknown):,} of the {len(classes):,} classes of the data: {_listed(unknown)}"
            f"{nearest(unknown[0], network_classes)} (it has {len(network_classes):,}: {_listed(network_classes)}; "
            "leave the others out, or name those to keep in --config.dataset.classes)"
        )
    return np.array(list(found), np.int32)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_LISTED])) + ", ..." * (len(names) > _LISTED)


def _is_wordnet_id(name: str) -> bool:
    return display_name(name) != name


def _word(name: str) -> str:
    """The first word of a class, such as "tench" of "tench, Tinca tinca", in lower case, with single spaces."""
    return re.sub(r"[\W_]+", " ", display_name(name).partition(",")[0]).strip().lower()
