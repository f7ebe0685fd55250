"""Reads ImageNet's official archives where they lie, without unpacking them.

The training archive holds a tar for each class, nXXXXXXXX.tar, with its photographs nXXXXXXXX_N.JPEG; the validation
archive holds ILSVRC2012_val_0000000N.JPEG; the devkit says what the classes are and which one each validation
photograph shows.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015; the devkit's readme.
"""

import io
import re
import tarfile
from dataclasses import dataclass

import numpy as np
import scipy.io

from resnet_alexnet.data.prepare.archive import ArchivePhotos, Entry, open_tar, plain_files, tar_errors, to_photos
from resnet_alexnet.errors import InputError

NUM_CLASSES = 1000
NUM_TRAIN, NUM_VALIDATION = 1_281_167, 50_000
_TRAIN_FILE = "give --train=ILSVRC2012_img_train.tar as published"
_VALIDATION_FILE = "give --val=ILSVRC2012_img_val.tar as published"
_DEVKIT_FILE = "give --devkit=ILSVRC2012_devkit_t12.tar.gz as published"
_INCOMPLETE = "or pass --allow_incomplete to prepare a part of ImageNet"
_CLASS_TAR = re.compile(r"(n\d{8})\.tar")
_TRAIN_PHOTO = re.compile(r"(n\d{8})_\d+\.JPEG")
_VALIDATION_PHOTO = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
_META = "meta.mat"
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True)
class Devkit:
    """What the development kit says.

    Attributes:
        wnids: WordNet ID of each class by its ILSVRC2012_ID.
        words: the words for each class by its WordNet ID, such as "tench, Tinca tinca".
        ground_truth: ILSVRC2012_ID of every validation photograph, in the order of their names.
    """

    wnids: dict[int, str]
    words: dict[str, str]
    ground_truth: tuple[int, ...]


def read_imagenet(
    *, train: str = "", validation: str = "", devkit: str = "", allow_incomplete: bool = False
) -> tuple[dict[str, ArchivePhotos], dict[str, str]]:
    """Lists the photographs of the given archives: of each split, and the words for each class as the devkit has them.

    The classes are WordNet IDs, sorted, as in torchvision and TFDS.

    Args:
        train: path of ILSVRC2012_img_train.tar, or nothing.
        validation: path of ILSVRC2012_img_val.tar, or nothing.
        devkit: path of ILSVRC2012_devkit_t12.tar.gz, needed with `validation`.
        allow_incomplete: accept other numbers of classes and photographs than the challenge's. The classes are then
            those of the training archive, and validation photographs of other classes are left out.

    Raises:
        InputError: a file is missing, damaged, cut off or another one than it should be; a name occurs twice; classes or
            photographs are missing. The message names the file.
    """
    if not train and not validation:
        raise InputError(f"no archive: {_TRAIN_FILE}, or --val and --devkit, or all three")
    if validation and not devkit:
        raise InputError(f"--val needs the devkit, which says what the photographs show: {_DEVKIT_FILE}")
    kit = read_devkit(devkit) if devkit else Devkit({}, {}, ())
    known = set(kit.wnids.values())
    train_entries = _list_train(train) if train else []
    classes = sorted({wnid for _, wnid, _, _ in train_entries} if train else known)
    if devkit:
        unknown, missing = sorted(set(classes) - known), sorted(known - set(classes))
        if unknown:
            raise InputError(f"{train} holds {unknown[0]}.tar, a class that {devkit} does not know: {_TRAIN_FILE}")
        if missing and not allow_incomplete:
            raise InputError(f"{train} lacks {missing[0]}.tar, one of {len(missing)}: {_TRAIN_FILE}, {_INCOMPLETE}")
    splits = {}
    if train:
        splits["train"] = to_photos(train, train_entries, classes)
    if validation:
        splits["validation"] = to_photos(validation, _list_validation(validation, kit, devkit), classes)
    if not allow_incomplete:
        _check_counts(splits)
    return splits, kit.words


def _check_counts(splits: dict[str, ArchivePhotos]) -> None:
    """Raises InputError unless these are the challenge's numbers."""
    expected = {"train": (NUM_TRAIN, _TRAIN_FILE), "validation": (NUM_VALIDATION, _VALIDATION_FILE)}
    for split, photos in splits.items():
        num_photos, remedy = expected[split]
        if len(photos.classes) != NUM_CLASSES:
            counted = f"{len(photos.classes):,} classes, not {NUM_CLASSES:,}"
        elif len(photos) != num_photos:
            counted = f"{len(photos):,} photographs, not {num_photos:,}"
        else:
            continue
        raise InputError(f"{photos.file} holds {counted}: {remedy}, {_INCOMPLETE}")


def _list_train(path: str) -> list[Entry]:
    """The photographs of the training archive, class after class."""
    entries: list[Entry] = []
    classes: set[str] = set()
    with open_tar(path, remedy=_TRAIN_FILE) as archive:
        for class_tar in plain_files(archive, path):
            match = _CLASS_TAR.fullmatch(_file_name(class_tar))
            if not match:
                raise InputError(f"{path} holds {class_tar.name}, where nXXXXXXXX.tar belongs: {_TRAIN_FILE}")
            if match[1] in classes:
                raise InputError(f"{path} holds {class_tar.name} twice: {_TRAIN_FILE}")
            classes.add(match[1])
            entries += _list_class(archive, class_tar, match[1], f"{path}: {class_tar.name}")
    if not entries:
        raise InputError(f"{path} is an empty archive: {_TRAIN_FILE}")
    return entries


def _list_class(archive: tarfile.TarFile, class_tar: tarfile.TarInfo, wnid: str, where: str) -> list[Entry]:
    """The photographs of one class. Offsets are those in the outer archive."""
    entries: list[Entry] = []
    with tar_errors(where, _TRAIN_FILE), tarfile.open(fileobj=archive.extractfile(class_tar), mode="r:") as photos:
        for photo in plain_files(photos, where):
            name = _file_name(photo)
            match = _TRAIN_PHOTO.fullmatch(name)
            if not match or match[1] != wnid:
                raise InputError(f"{where} holds {photo.name}, where {wnid}_N.JPEG belongs: {_TRAIN_FILE}")
            entries.append((name, wnid, class_tar.offset_data + photo.offset_data, photo.size))
    if not entries:
        raise InputError(f"{where} holds no photograph: {_TRAIN_FILE}")
    return entries


def _list_validation(path: str, kit: Devkit, devkit: str) -> list[Entry]:
    """The photographs of the validation archive, with the classes that the devkit says they show."""
    entries: list[Entry] = []
    with open_tar(path, remedy=_VALIDATION_FILE) as archive:
        for photo in plain_files(archive, path):
            name = _file_name(photo)
            match = _VALIDATION_PHOTO.fullmatch(name)
            if not match:
                raise InputError(
                    f"{path} holds {photo.name}, where ILSVRC2012_val_NNNNNNNN.JPEG belongs: {_VALIDATION_FILE}"
                )
            # By the number in the name: the order in the archive is not that of the names.
            number = int(match[1])
            if not 1 <= number <= len(kit.ground_truth):
                known = f"{devkit} knows the classes of {len(kit.ground_truth):,}"
                raise InputError(f"{path} holds {photo.name}, but {known} photographs: give both files of 2012")
            entries.append((name, kit.wnids[kit.ground_truth[number - 1]], photo.offset_data, photo.size))
    if not entries:
        raise InputError(f"{path} is an empty archive: {_VALIDATION_FILE}")
    return entries


def _file_name(member: tarfile.TarInfo) -> str:
    return member.name.rpartition("/")[2]


def read_devkit(path: str) -> Devkit:
    """Reads the development kit of 2012 for tasks 1 and 2.

    Raises:
        InputError: the file is missing, damaged or another one.
    """
    files: dict[str, bytes] = {}
    with open_tar(path, remedy=_DEVKIT_FILE, mode="r:gz") as archive:
        for member in plain_files(archive, path):
            name = _file_name(member)
            extracted = archive.extractfile(member)
            if name in (_META, _GROUND_TRUTH) and extracted is not None:
                files[name] = extracted.read()
    for name in (_META, _GROUND_TRUTH):
        if name not in files:
            raise InputError(f"{path} holds no {name}: {_DEVKIT_FILE}")
    try:
        synsets = np.atleast_1d(scipy.io.loadmat(io.BytesIO(files[_META]), squeeze_me=True)["synsets"])
        # The others are WordNet's nodes above the classes, which have no photographs of their own.
        leaves = synsets[synsets["num_children"].astype(int) == 0]
        kit = Devkit(
            wnids={int(leaf["ILSVRC2012_ID"]): str(leaf["WNID"]) for leaf in leaves},
            words={str(leaf["WNID"]): " ".join(str(leaf["words"]).split()) for leaf in leaves},
            ground_truth=tuple(map(int, files[_GROUND_TRUTH].split())),
        )
    except Exception as error:  # scipy raises errors of many types for a damaged .mat file
        raise InputError(f"{path} holds a damaged {_META} or {_GROUND_TRUTH} ({error}): {_DEVKIT_FILE}") from None
    if not set(kit.ground_truth) <= kit.wnids.keys():
        raise InputError(f"{path}: {_GROUND_TRUTH} names classes that {_META} does not hold: {_DEVKIT_FILE}")
    return kit
