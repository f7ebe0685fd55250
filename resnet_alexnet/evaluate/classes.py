"""The classes of a data set among those of a network: matched by name, in any order; the data may have only some."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int32

from resnet_alexnet.data.readers.imagenet_classes import display_name
from resnet_alexnet.errors import InputError, nearest

_LISTED = 3  # classes that a message names
_DIGITS = 10  # up to which numbers have one order, as words too
_NAME_THEM = "name them, in the order of the logits, with convert --classes=FILE"


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
    if tuple(classes) == tuple(network_classes):
        return np.arange(len(classes), dtype=np.int32)
    numbered = tuple(network_classes) == tuple(map(str, range(len(network_classes))))
    if numbered and len(network_classes) > _DIGITS and all(name.isdecimal() for name in classes):
        raise InputError(
            f"{network} has numbers for classes, whose order may be that of numbers (2, 10) or of words (10, 2): "
            f"{_NAME_THEM}"
        )
    found: dict[int, str] = {}
    unknown = []
    by_name, by_word = _index(network_classes, str), _index(network_classes, _word)
    for name in classes:
        matches = by_name.get(name) or by_name.get(display_name(name)) or []
        if not matches:
            alike = by_word.get(_word(name), [])
            matches = [i for i in alike if _is_wordnet_id(name) or _is_wordnet_id(network_classes[i])]
        if len(matches) > 1 and _is_wordnet_id(name):  # whose word is written as WordNet does
            matches = [i for i in matches if _word(network_classes[i], str) == _word(name, str)]
        if len(matches) > 1:
            names = " or ".join(network_classes[index] for index in matches)
            raise InputError(
                f"{name!r} of the data may be {names} of {network} (allowed: names that stand for one class)"
            )
        if not matches:
            unknown.append(name)
        elif matches[0] in found:
            raise InputError(f"{found[matches[0]]!r} and {name!r} of the data are one class of {network}: merge them")
        else:
            found[matches[0]] = name
    if unknown and numbered:
        raise InputError(f"{network} has no names for its {len(network_classes):,} classes, only numbers: {_NAME_THEM}")
    if unknown:
        raise InputError(
            f"{network} lacks {len(unknown):,} of the {len(classes):,} classes of the data: {_listed(unknown)}"
            f"{nearest(unknown[0], network_classes)} (it has {len(network_classes):,}: {_listed(network_classes)}; "
            "leave the others out, or name those to keep in --config.dataset.classes)"
        )
    return np.array(list(found), np.int32)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_LISTED])) + ", ..." * (len(names) > _LISTED)


def _index(names: Sequence[str], key: Callable[[str], str]) -> dict[str, list[int]]:
    """The indices of the names by their key."""
    indices: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        indices[key(name)].append(index)
    return indices


def _is_wordnet_id(name: str) -> bool:
    return display_name(name) != name


def _word(name: str, case: Callable[[str], str] = str.lower) -> str:
    """The first word of a class, such as "tench" of "tench, Tinca tinca", with single spaces between its parts."""
    return case(re.sub(r"[\W_]+", " ", display_name(name).partition(",")[0]).strip())
