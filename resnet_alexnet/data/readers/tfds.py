"""Reads the image classification sets of TensorFlow Datasets, from array_record files and without TensorFlow."""

import dataclasses
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_alexnet.data.readers import tfds_records
from resnet_alexnet.data.readers.tfds_folder import check_tfds, find_tfds
from resnet_alexnet.data.selection import held_out_start
from resnet_alexnet.errors import InputError

__all__ = ["TfdsPhotos", "find_tfds", "read_tfds"]

_UNLABELED = -1


@dataclasses.dataclass(frozen=True, eq=False)
class TfdsPhotos:
    """The encoded photographs of one split. Its files are opened when one is read, in each process anew.

    Attributes:
        folder: the version folder of the set.
        split: a split in TFDS's syntax, such as "train[:90%]".
        start: where in the split these photographs begin.
        length: how many they are.
        classes: class names; a label is an index into them.
        channels: color channels to decode to.
        image_key: the feature that is the photograph.
        label_key: the feature that is its label.
        labels: None; they stand beside the photographs.
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
        """The encoded photograph `index`, and its label.

        Raises:
            InputError: a file is gone or damaged; the label is no index into the classes.
        """
        image, label = self._records().read(self.start + index)
        if not 0 <= label < len(self.classes):
            raise InputError(
                f"{self.where(index)} has the label {label}: allowed are 0 to {len(self.classes) - 1}, one for each "
                "class; choose splits without it, or make the set again"
            )
        return image, label

    def where(self, index: int) -> str:
        """The file of photograph `index`, its record there, and the name of its own file if the set has it."""
        return self._records().where(self.start + index)

    def is_unlabeled(self) -> bool:
        """Whether the label of the first photograph says that there are none, as in ImageNet's test set."""
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
    """Finds the splits of a set: of "train", "validation" and "test" those that there are.

    Args:
        name: the set's name, "NAME[/CONFIG][:VERSION]"; the newest version if none is named.
        data_dir: the folder of all sets, or the folder of this set, of its config or of its version.
        train_split: split in TFDS's syntax ("train[:45000]", "train[10%:]", "train+validation"); empty is "train"
            if there is one.
        validation_split: likewise; empty is "validation" or, in a set without, the last floor(fraction * count) records
            of the training split, which are no different from the others because TFDS shuffles them.
        test_split: likewise; empty is "test" if there is one and it has labels.
        validation_fraction: the fraction held out, in [0, 1); 0 holds nothing out.

    Raises:
        InputError: no such set, another format, no image classification; an unknown, empty or badly written split, or
            two with records in common; a file that is missing, damaged or not of the stated length.
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
                f"the records of {folder} are in an order of their own, so its last ones cannot be the validation set: "
                "set dataset.validation_split and train_split, or validation_fraction=0"
            )
        photos |= _hold_out(photos["train"], validation_fraction)
    for part in photos.values():
        part.read(0)  # a set that cannot be read says so now
    return photos


def _hold_out(train: TfdsPhotos, fraction: float) -> dict[str, TfdsPhotos]:
    """The training photographs without the last ones, and these for validation."""
    start = held_out_start(len(train), fraction)
    if start == len(train):
        raise InputError(
            f"validation_fraction={fraction} holds out none of the {len(train)} examples of {train.split!r}; raise it, "
            "or set 0 for no validation set"
        )
    return {
        "train": dataclasses.replace(train, length=start),
        "validation": dataclasses.replace(train, start=start, length=len(train) - start),
    }


def _keys(folder: Path, info: Any) -> tuple[str, str]:
    """The features that are the photograph and its label."""
    from tensorflow_datasets import features

    found: dict[type, list[str]] = {features.Image: [], features.ClassLabel: []}
    for key, feature in sorted(info.features.items()) if isinstance(info.features, features.FeaturesDict) else ():
        if type(feature) in found:  # a LabeledImage is an Image, but none to classify
            found[type(feature)].append(key)
    images, labels = found.values()
    if info.supervised_keys and info.supervised_keys[0] in images and info.supervised_keys[1] in labels:
        images, labels = [info.supervised_keys[0]], [info.supervised_keys[1]]
    if len(images) != 1 or len(labels) != 1:
        raise InputError(
            f"{folder} is no image classification set: it has {_counted(images, 'image')} and "
            f"{_counted(labels, 'class label')} a record, and not one of each"
        )
    dtype = np.dtype(info.features[images[0]].np_dtype)
    if dtype != np.uint8:
        raise InputError(f"{folder}: its images are {dtype}; they must be uint8")
    return images[0], labels[0]


def _class_names(folder: Path, label_key: str, feature: Any) -> tuple[str, ...]:
    """The class names; TFDS itself passes over a file of them that does not fit."""
    names = tuple(feature.names)
    if len(set(names)) != feature.num_classes:
        raise InputError(
            f"{folder}/{label_key}.labels.txt has {len(set(names))} different class names, not {feature.num_classes}: "
            "restore the file, or make the set again"
        )
    return names


def _counted(keys: list[str], what: str) -> str:
    return f"{len(keys)} {what}s" + (f" ({', '.join(keys)})" if keys else "")


def _file_instructions(info: Any, split: str, spec: str) -> list[Any]:
    """Which records of which files a split is."""
    try:
        files = info.splits[spec].file_instructions
        problem = "" if files else "no record is in it"
    except (ValueError, NotImplementedError) as error:
        files, problem = [], tfds_records.last_line(error)
    if problem:
        there = ", ".join(f"{name} ({part.num_examples:,})" for name, part in info.splits.items())
        raise InputError(
            f"dataset.{split}_split={spec!r}: {problem.rstrip('.')}; {info.name} has {there}, and parts are written "
            "like train[:90%] or train[45000:]"
        )
    return files


def _check_overlap(chosen: Mapping[str, str], files: Mapping[str, list[Any]]) -> None:
    """Raises InputError where two splits have records in common."""
    for one, other in itertools.combinations(chosen, 2):
        ranges: dict[str, list[tuple[int, int]]] = {}
        for file in files[one]:
            ranges.setdefault(file.filename, []).append((file.skip, file.skip + file.take))
        for file in files[other]:
            for start, end in ranges.get(file.filename, ()):
                if max(start, file.skip) < min(end, file.skip + file.take):
                    raise InputError(
                        f"dataset.{one}_split={chosen[one]!r} and dataset.{other}_split={chosen[other]!r} have records "
                        "in common: set both, such as train[:90%] and train[90%:]"
                    )
