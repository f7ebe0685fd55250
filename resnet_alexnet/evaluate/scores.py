"""The scores of a split, in memory and in a file. Ensembles, reports and comparisons are computed from them."""

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
_ARRAYS = {"scores": "f", "labels": "i", "names": "U", "classes": "U", "settings": "U", "format": "U"}  # dtype.kind
_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError, KeyError)


@dataclass(frozen=True, eq=False)
class Scores:
    """The class probabilities of all images of a split, with their labels.

    Attributes:
        scores: probabilities, averaged over networks and views. A row with a NaN is an image without a prediction.
        labels: the class of each image.
        names: the name of each image: a file, or its number.
        classes: the class names, in the order of the scores.
        settings: how the scores were computed, as JSON values.
        name: the name of these scores in error messages, such as their file.
    """

    scores: Float32[np.ndarray, "images classes"]
    labels: Int32[np.ndarray, "images"]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    settings: dict[str, Any]
    name: str = "the scores"

    @property
    def split_digest(self) -> str:
        """A hash of image names, labels and classes: equal only for scores of the same split."""
        identity = json.dumps([self.names, self.labels.tolist(), self.classes])
        return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()

    @property
    def made_by(self) -> list[dict[str, Any]]:
        """The settings of each network that these scores are the mean of."""
        return self.settings.get("mean_of", [self.settings])

    def save(self, path: Path) -> None:
        """Writes an `.npz` file atomically.

        It takes four bytes per score, and compression saves little: 200 MB for ImageNet's 50,000 x 1,000.

        Raises:
            InputError: the file cannot be written.
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
    """Reads a file that `Scores.save` wrote.

    Raises:
        InputError: the file does not exist, is damaged or is not a file of scores.
    """
    if not os.path.isfile(path):
        state = "is a folder" if os.path.isdir(path) else "does not exist"
        raise InputError(f"{path} {state} (allowed: a file of scores)")
    arrays = _load(path)
    format_, settings = (str(arrays[name]) for name in ("format", "settings"))
    shape = arrays["scores"].shape
    shapes = {"labels": shape[:1], "names": shape[:1], "classes": shape[1:], "scores": (*shape[:1], *shape[1:2])}
    if format_ != FORMAT or 0 in shape or any(arrays[name].shape != expected for name, expected in shapes.items()):
        raise InputError(f"{path} is not a file of scores: its format or the shapes of its arrays are wrong")
    scores = Scores(
        scores=arrays["scores"].astype(np.float32),
        labels=arrays["labels"].astype(np.int32),
        names=tuple(arrays["names"].tolist()),
        classes=tuple(arrays["classes"].tolist()),
        settings=_parse_settings(settings, path),
        name=str(path),
    )
    if scores.settings.pop("split_digest", None) != scores.split_digest:
        raise InputError(f"{path} is damaged: its images or classes do not match its digest")
    if not np.isin(scores.labels, np.arange(shape[1])).all():
        raise InputError(f"{path} is damaged: a label is not one of its {shape[1]} classes")
    if not (np.isnan(scores.scores) | ((scores.scores >= 0) & (scores.scores <= 1))).all():
        raise InputError(f"{path} is damaged: some of its scores are not probabilities")
    return scores


def _parse_settings(text: str, path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(text)
        made_by = settings.get("mean_of", [settings])
        if made_by and all(isinstance(made, dict) for made in made_by):
            return settings
    except (ValueError, AttributeError, TypeError):
        pass
    raise InputError(f"{path} is not a file of scores: its settings are missing or damaged")


def _load(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file and checks their dtypes."""
    with contextlib.ExitStack() as stack:
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("it is not a complete zip archive")
            # Opened here, because numpy leaves a damaged file open.
            file = np.load(stack.enter_context(path.open("rb")), allow_pickle=False)
            arrays = {name: np.asarray(file[name]) for name in _ARRAYS}
        except _DAMAGE as error:
            raise InputError(f"{path} is damaged or not a file of scores: {error}") from None
    for name, kind in _ARRAYS.items():
        if arrays[name].dtype.kind != kind:
            raise InputError(f"{path} is not a file of scores: its array {name} is {arrays[name].dtype}")
    return arrays


def mean_scores(parts: Sequence[Scores]) -> Scores:
    """The scores of an ensemble: the mean over its networks. A part that is a mean itself counts once per network.

    Source: [K12] table 2; [H15] table 5.

    Raises:
        InputError: the parts are of different splits or classes.
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
    """Raises InputError, with the first difference, unless both are scores of the same images and classes."""
    check_classes(other.classes, one.classes, what=other.name, than=one.name)
    if other.split_digest == one.split_digest:
        return
    problem = f"{other.name} is not of the same split as {one.name}"
    if len(one.names) != len(other.names):
        raise InputError(f"{problem}: it has {len(other.names):,} images, not {len(one.names):,}")
    pairs = zip(zip(one.names, one.labels, strict=True), zip(other.names, other.labels, strict=True), strict=True)
    (name, label), (other_name, other_label) = next(pair for pair in pairs if pair[0] != pair[1])
    if name != other_name:
        raise InputError(f"{problem}: it has the image {other_name} instead of {name}")
    raise InputError(f"{problem}: its label of {name} is {one.classes[other_label]}, not {one.classes[label]}")


def check_classes(classes: Sequence[str], expected: Sequence[str], *, what: str, than: str) -> None:
    """Raises InputError, with the first difference, unless the classes are the same and in the same order.

    `what` and `than` name the two sides in the message.
    """
    if len(classes) != len(expected):
        raise InputError(f"{what} has {len(classes)} classes, but {than} has {len(expected)} (allowed: equal classes)")
    for number, (ours, theirs) in enumerate(zip(classes, expected, strict=True)):
        if ours != theirs:
            raise InputError(
                f"class {number} is {ours!r} in {what}, but {theirs!r} in {than} (allowed: the same classes and order)"
            )
