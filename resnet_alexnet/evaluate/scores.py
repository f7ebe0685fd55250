"""Scores of images, as a record and as a file: what ensembles, reports and comparisons are made of."""

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write

FORMAT = "resnet_alexnet scores 1"
_ARRAYS = {"scores": "f", "labels": "i", "names": "U", "classes": "U", "settings": "U", "format": "U"}  # kinds of dtype
_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError, KeyError)


@dataclass(frozen=True, eq=False)
class Scores:
    """The probabilities of every class for every image of a split, with what they are to be.

    Attributes:
        scores: probabilities; of several networks or views, their mean. A row with a NaN is an image without an answer.
        labels: the class of each image.
        names: what each image is called: a file, or its number.
        classes: the classes' names, in the order of the scores.
        settings: how the scores were made, as JSON values.
        name: what to call these scores in an error, such as their file.
    """

    scores: Float32[np.ndarray, "images classes"]
    labels: Int32[np.ndarray, "images"]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    settings: dict[str, Any]
    name: str = "the scores"

    @property
    def split_digest(self) -> str:
        """A hash of the images' names, their labels and the classes: equal for scores of the same split alone."""
        identity = json.dumps([self.names, self.labels.tolist(), self.classes])
        return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()

    @property
    def made_by(self) -> list[dict[str, Any]]:
        """The settings of every network whose scores these are, or are the mean of."""
        return self.settings.get("mean_of", [self.settings])

    def save(self, path: Path) -> None:
        """Writes an `.npz` file, whole or not at all.

        Four bytes a score, before a compression that gains little: 200 MB for ImageNet's 50,000 x 1,000.

        Raises:
            InputError: it cannot be written.
        """
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                scores=self.scores,
                labels=self.labels,
                names=np.array(self.names),
                classes=np.array(self.classes),
                settings=np.array(json.dumps({**self.settings, "split_digest": self.split_digest})),
                format=np.array(FORMAT),
            )


def load_scores(path: Path) -> Scores:
    """The scores that `Scores.save` wrote.

    Raises:
        InputError: there is no such file, it is damaged, or something else.
    """
    if not os.path.isfile(path):
        state = "is a folder" if os.path.isdir(path) else "does not exist"
        raise InputError(f"{path} {state}: needed is a file of scores")
    arrays = _load(path)
    format_, settings = (str(arrays[name]) for name in ("format", "settings"))
    shape = arrays["scores"].shape
    shapes = {"labels": shape[:1], "names": shape[:1], "classes": shape[1:], "scores": (*shape[:1], *shape[1:2])}
    if format_ != FORMAT or 0 in shape or any(arrays[name].shape != wanted for name, wanted in shapes.items()):
        raise InputError(f"{path} is no file of scores: its arrays do not fit one another")
    scores = Scores(
        scores=arrays["scores"].astype(np.float32),
        labels=arrays["labels"].astype(np.int32),
        names=tuple(arrays["names"].tolist()),
        classes=tuple(arrays["classes"].tolist()),
        settings=_parse_settings(settings, path),
        name=str(path),
    )
    if scores.settings.pop("split_digest", None) != scores.split_digest:
        raise InputError(f"{path} is damaged: its images or classes are not those that were saved")
    if not np.isin(scores.labels, np.arange(shape[1])).all():
        raise InputError(f"{path} is damaged: a label is none of its {shape[1]} classes")
    if not (np.isnan(scores.scores) | ((scores.scores >= 0) & (scores.scores <= 1))).all():
        raise InputError(f"{path} is damaged: not all of its scores are probabilities")
    return scores


def _parse_settings(text: str, path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(text)
        made_by = settings.get("mean_of", [settings])
        if made_by and all(isinstance(made, dict) for made in made_by):
            return settings
    except (ValueError, AttributeError, TypeError):
        pass
    raise InputError(f"{path} is no file of scores: it does not say how they were made")


def _load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the file, each of the kind that it is to have."""
    with contextlib.ExitStack() as stack:
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("it is no whole archive of arrays")
            # Opened here, because numpy leaves a damaged file open.
            file = np.load(stack.enter_context(path.open("rb")), allow_pickle=False)
            arrays = {name: np.asarray(file[name]) for name in _ARRAYS}
        except _DAMAGE as error:
            raise InputError(f"{path} is no file of scores, or damaged: {error}") from None
    for name, kind in _ARRAYS.items():
        if arrays[name].dtype.kind != kind:
            raise InputError(f"{path} is no file of scores: its array {name} is {arrays[name].dtype}")
    return arrays


def mean_scores(parts: Sequence[Scores]) -> Scores:
    """The scores of an ensemble: the mean of its networks', also of those whose mean a part is already.

    Source: both papers, tables 2 [K12] and 5 [H15].

    Raises:
        InputError: they are of different splits or classes.
    """
    first, *others = parts
    if not others:
        return first
    for other in others:
        check_same_split(first, other)
    networks = [made for part in parts for made in part.made_by]
    total = np.zeros(first.scores.shape)
    for part in parts:
        total += len(part.made_by) * part.scores.astype(np.float64)
    return replace(
        first,
        scores=(total / len(networks)).astype(np.float32),
        settings={"mean_of": networks},
        name=f"the mean of {len(networks)}",
    )


def check_same_split(one: Scores, other: Scores) -> None:
    """Raises InputError, with what differs, unless both are scores of the same images and classes."""
    check_classes(other.classes, one.classes, what=other.name, than=one.name)
    if other.split_digest == one.split_digest:
        return
    problem = f"{other.name} is of another split than {one.name}"
    if len(one.names) != len(other.names):
        raise InputError(f"{problem}: it has {len(other.names):,} images, not {len(one.names):,}")
    pairs = zip(zip(one.names, one.labels, strict=True), zip(other.names, other.labels, strict=True), strict=True)
    (name, label), (other_name, other_label) = next(pair for pair in pairs if pair[0] != pair[1])
    if name != other_name:
        raise InputError(f"{problem}: it has the image {other_name} in place of {name}")
    raise InputError(f"{problem}: its label of {name} is {one.classes[other_label]}, not {one.classes[label]}")


def check_classes(classes: Sequence[str], wanted: Sequence[str], *, what: str, than: str) -> None:
    """Raises InputError, with the first difference, unless the classes are the same and in the same order."""
    if len(classes) != len(wanted):
        raise InputError(f"{what} has {len(classes)} classes, {than} has {len(wanted)}: they must be the same")
    for number, (ours, theirs) in enumerate(zip(classes, wanted, strict=True)):
        if ours != theirs:
            raise InputError(f"class {number} of {what} is {ours!r}, that of {than} {theirs!r}: they must be the same")
