"""Reads image classification sets of TensorFlow Datasets (TFDS) from array_record files, without TensorFlow."""

import dataclasses
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_alexnet.data.readers import tfds_records
from resnet_alexnet.data.readers.tfds_folder import check_tfds, find_tfds
from resnet_alexnet.data.selection import MOST_CLASSES, NothingHeldOutError, held_out_start
from resnet_alexnet.errors import InputError

__all__ = ["TfdsPhotos", "find_tfds", "read_tfds"]

_UNLABELED = -1


@dataclasses.dataclass(frozen=True, eq=False)
class TfdsPhotos:
    """The encoded photographs of one split. Each process opens the files on its first read.

    Attributes:
        folder: the version folder of the set.
        split: a split in TFDS's syntax, such as "train[:90%]".
        start: index in the split of the first photograph.
        length: number of photographs.
        classes: class names; a label is an index into them.
        channels: color channels to decode to.
        image_key: name of the feature with the photograph.
        label_key: name of the feature with the label.
        labels: always None: labels are only known by reading the records.
    """

    folder: Path
    split: str
    start: int
    length: int
    classes: tuple[str, ...]
    channels: int
    image_key: str
    label_key: str
    labels: None = None

    def __len__(self) -> int:
        return self.length

    def read(self, index: int) -> tuple[bytes, int]:
        """Returns the encoded bytes and the label of photograph `index`.

        Raises:
            InputError: a file is missing or damaged, or the label is not an index into the classes.
        """
        image, label = self._records().read(self.start + index)
        if not 0 <= label < len(self.classes):
            raise InputError(
                f"{self.where(index)} has the label {label} (allowed: 0 to {len(self.classes) - 1}, one per class); "
                "choose splits without it, or build the set again"
            )
        return image, label

    def where(self, index: int) -> str:
        """Returns the file and record of photograph `index` and, if the set has it, its original file name."""
        return self._records().where(self.start + index)

    def is_unlabeled(self) -> bool:
        """Whether the split has no labels, judged by its first photograph, as in ImageNet's test set."""
        return self._records().read(self.start)[1] == _UNLABELED

    def _records(self) -> tfds_records.Records:
        return tfds_records.open_records(self.folder, self.split, self.image_key, self.label_key)


def read_tfds(
    name: str,
    data_dir: str | os.PathLike[str],
    *,
    train_split: str = "",
    validation_split: str = "",
    test_split: str = "",
    validation_fraction: float = 0.1,
) -> dict[str, TfdsPhotos]:
    """Opens those of the splits "train", "validation" and "test" that the set has.

    Args:
        name: the set's name, "NAME[/CONFIG][:VERSION]"; without a version, the newest.
        data_dir: the folder of all sets, or the folder of this set, of its config or of its version.
        train_split: split in TFDS's syntax ("train[:45000]", "train[10%:]", "train+validation"); empty: "train" if
            there is one.
        validation_split: likewise; empty: "validation" or, if there is none, the last floor(fraction * count) records
            of the training split, a random sample because TFDS shuffles the records.
        test_split: likewise; empty: "test" if there is one with labels.
        validation_fraction: the fraction to hold out, in [0, 1); 0 holds nothing out.

    Raises:
        InputError: the set is missing, of another format, or not for image classification; a split is unknown, empty
            or malformed, or two have records in common; a file is missing, damaged or of the wrong length.
    """
    folder = check_tfds(name, data_dir)
    builder = tfds_records.open_builder(folder)
    image_key, label_key = _keys(folder, builder.info)
    asked = {"train": train_split, "validation": validation_split, "test": test_split}
    there = [split for split in asked if split in builder.info.splits] or ["train"]
    chosen = {split: spec or split for split, spec in asked.items() if spec or split in there}
    files = {split: _file_instructions(builder.info, split, spec) for split, spec in chosen.items()}
    _check_overlap(chosen, files)
    tfds_records.check_files(list(itertools.chain(*files.values())))
    features = builder.info.features
    classes = _class_names(folder, label_key, features[label_key])
    photos = {
        split: TfdsPhotos(
            folder=folder,
            split=spec,
            start=0,
            length=sum(file.take for file in files[split]),
            classes=classes,
            channels=1 if features[image_key].shape[-1] == 1 else 3,
            image_key=image_key,
            label_key=label_key,
        )
        for split, spec in chosen.items()
    }
    if not test_split and "test" in photos and photos["test"].is_unlabeled():
        del photos["test"]
    if "validation" not in photos and "train" in photos and validation_fraction:
        if builder.info.disable_shuffling:
            raise InputError(
                f"the records of {folder} are not shuffled, so the last ones cannot be held out for validation: set "
                "dataset.validation_split and dataset.train_split, or dataset.validation_fraction=0"
            )
        photos |= _hold_out(photos["train"], validation_fraction)
    for part in photos.values():
        part.read(0)  # fails now if the set cannot be read
    return photos


def _hold_out(train: TfdsPhotos, fraction: float) -> dict[str, TfdsPhotos]:
    """Splits the training photographs: the last ones become the validation split."""
    start = held_out_start(len(train), fraction)
    if start == len(train):
        raise NothingHeldOutError(
            f"validation_fraction={fraction} holds out none of the {len(train)} images of {train.split!r}: raise it, "
            "or set 0 for no validation set"
        )
    return {
        "train": dataclasses.replace(train, length=start),
        "validation": dataclasses.replace(train, start=start, length=len(train) - start),
    }


def _keys(folder: Path, info: Any) -> tuple[str, str]:
    """Returns the names of the features with the photograph and with its label."""
    from tensorflow_datasets import features

    found: dict[type, list[str]] = {features.Image: [], features.ClassLabel: []}
    for key, feature in sorted(info.features.items()) if isinstance(info.features, features.FeaturesDict) else ():
        if type(feature) in found:  # not isinstance: LabeledImage, a segmentation mask, is a subclass of Image
            found[type(feature)].append(key)
    images, labels = found.values()
    if info.supervised_keys and info.supervised_keys[0] in images and info.supervised_keys[1] in labels:
        images, labels = [info.supervised_keys[0]], [info.supervised_keys[1]]
    if len(images) != 1 or len(labels) != 1:
        raise InputError(
            f"{folder} is not an image classification set: a record has {_counted(images, 'image')} and "
            f"{_counted(labels, 'class label')}, not one of each"
        )
    dtype = np.dtype(info.features[images[0]].np_dtype)
    if dtype != np.uint8:
        raise InputError(f"{folder}: its images are {dtype}; they must be uint8")
    return images[0], labels[0]


def _class_names(folder: Path, label_key: str, feature: Any) -> tuple[str, ...]:
    """Returns the class names, and checks their number: TFDS ignores a file of names that does not match the set."""
    if not feature.num_classes or feature.num_classes > MOST_CLASSES:
        raise InputError(
            f"{folder} has {feature.num_classes or 0:,} classes of {label_key} (allowed: 1 to {MOST_CLASSES:,})"
        )
    names = tuple(feature.names)
    try:
        (folder / f"{label_key}.labels.txt").read_text(encoding="utf-8")
    except OSError:
        pass  # it is not there: the classes are numbers
    except UnicodeDecodeError:
        raise InputError(f"{folder}/{label_key}.labels.txt is not UTF-8 text: restore the file") from None
    if not len(names) == len(set(names)) == feature.num_classes:
        raise InputError(
            f"{folder}/{label_key}.labels.txt has {len(names)} lines with {len(set(names))} different class names, not "
            f"{feature.num_classes}: restore the file, or build the set again"
        )
    return names


def _counted(keys: list[str], what: str) -> str:
    return f"{len(keys)} {what}s" + (f" ({', '.join(keys)})" if keys else "")


def _file_instructions(info: Any, split: str, spec: str) -> list[Any]:
    """Returns TFDS's file instructions of a split: which records of which files it has."""
    try:
        files = info.splits[spec].file_instructions
        problem = "" if files else "it has no records"
    except (ValueError, NotImplementedError) as error:
        files, problem = [], tfds_records.last_line(error)
    if problem:
        there = ", ".join(f"{name} ({part.num_examples:,})" for name, part in info.splits.items())
        raise InputError(
            f"dataset.{split}_split={spec!r}: {problem.rstrip('.')}; {info.name} has {there}; write parts as "
            "train[:90%] or train[45000:]"
        )
    return files


def _check_overlap(chosen: Mapping[str, str], files: Mapping[str, list[Any]]) -> None:
    """Raises InputError if two splits have records in common."""
    for one, other in itertools.combinations(chosen, 2):
        ranges: dict[str, list[tuple[int, int]]] = {}
        for file in files[one]:
            ranges.setdefault(file.filename, []).append((file.skip, file.skip + file.take))
        for file in files[other]:
            for start, end in ranges.get(file.filename, ()):
                if max(start, file.skip) < min(end, file.skip + file.take):
                    raise InputError(
                        f"dataset.{one}_split={chosen[one]!r} and dataset.{other}_split={chosen[other]!r} have records "
                        "in common: set both to separate parts, such as train[:90%] and train[90%:]"
                    )
