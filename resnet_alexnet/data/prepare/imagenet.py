"""Reads ImageNet's official archives without unpacking them.

The training archive contains one tar per class, nXXXXXXXX.tar, with the photographs nXXXXXXXX_N.JPEG. The validation
archive contains ILSVRC2012_val_0000000N.JPEG. The devkit lists the classes and the class of each validation photograph.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015; the devkit's readme.
"""

import re
import tarfile

from resnet_alexnet.data.prepare.archive import ArchivePhotos, Entry, open_tar, plain_files, tar_errors, to_photos
from resnet_alexnet.data.readers.imagenet_devkit import DEVKIT, Devkit, read_devkit
from resnet_alexnet.errors import InputError

NUM_CLASSES = 1000
NUM_TRAIN, NUM_VALIDATION = 1_281_167, 50_000
_TRAIN_FILE = "give --train=ILSVRC2012_img_train.tar as published"
_VALIDATION_FILE = "give --val=ILSVRC2012_img_val.tar as published"
_DEVKIT_FILE = f"give --devkit={DEVKIT} as published"
_INCOMPLETE = "or pass --allow_incomplete to prepare a part of ImageNet"
_CLASS_TAR = re.compile(r"(n\d{8})\.tar")
_TRAIN_PHOTO = re.compile(r"(n\d{8})_\d+\.JPEG")
_VALIDATION_PHOTO = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")


def read_imagenet(
    *, train: str = "", validation: str = "", devkit: str = "", allow_incomplete: bool = False
) -> tuple[dict[str, ArchivePhotos], dict[str, str]]:
    """Lists the photographs in the given archives.

    The classes are WordNet IDs, sorted, as in torchvision and TFDS.

    Args:
        train: path of ILSVRC2012_img_train.tar, or empty.
        validation: path of ILSVRC2012_img_val.tar, or empty.
        devkit: path of ILSVRC2012_devkit_t12.tar.gz, required with `validation`.
        allow_incomplete: accept other numbers of classes and photographs than the challenge has. The classes are then
            those of the training archive, and validation photographs of other classes are left out.

    Returns:
        The photographs by split, and the devkit's words by class.

    Raises:
        InputError: a file is missing, damaged, truncated or not the expected one; a name occurs twice; classes or
            photographs are missing. The message names the file.
    """
    if not train and not validation:
        raise InputError(f"no archive: {_TRAIN_FILE}, or --val and --devkit, or all three")
    if validation and not devkit:
        raise InputError(f"--val needs the devkit, which has the classes of the photographs: {_DEVKIT_FILE}")
    kit = read_devkit(devkit, remedy=_DEVKIT_FILE) if devkit else Devkit({}, {}, ())
    known = set(kit.wnids.values())
    train_entries = _list_train(train) if train else []
    classes = sorted({wnid for _, wnid, _, _ in train_entries} if train else known)
    if devkit:
        unknown, missing = sorted(set(classes) - known), sorted(known - set(classes))
        if unknown:
            raise InputError(f"{train} has {unknown[0]}.tar, a class that is not in {devkit}: {_TRAIN_FILE}")
        if missing and not allow_incomplete:
            raise InputError(
                f"{train} lacks {len(missing)} of the devkit's classes, such as {missing[0]}.tar: {_TRAIN_FILE}, "
                f"{_INCOMPLETE}"
            )
    splits = {}
    if train:
        splits["train"] = to_photos(train, train_entries, classes)
    if validation:
        splits["validation"] = to_photos(validation, _list_validation(validation, kit, devkit), classes)
    if not allow_incomplete:
        _check_counts(splits)
    return splits, kit.words


def _check_counts(splits: dict[str, ArchivePhotos]) -> None:
    """Raises InputError unless the numbers of classes and photographs are those of the challenge."""
    expected = {"train": (NUM_TRAIN, _TRAIN_FILE), "validation": (NUM_VALIDATION, _VALIDATION_FILE)}
    for split, photos in splits.items():
        num_photos, remedy = expected[split]
        if len(photos.classes) != NUM_CLASSES:
            counted = f"{len(photos.classes):,} classes, not {NUM_CLASSES:,}"
        elif len(photos) != num_photos:
            counted = f"{len(photos):,} photographs, not {num_photos:,}"
        else:
            continue
        raise InputError(f"{photos.file} has {counted}: {remedy}, {_INCOMPLETE}")


def _list_train(path: str) -> list[Entry]:
    """Lists the photographs of the training archive, class by class."""
    entries: list[Entry] = []
    classes: set[str] = set()
    with open_tar(path, remedy=_TRAIN_FILE) as archive:
        for class_tar in plain_files(archive, path):
            match = _CLASS_TAR.fullmatch(_file_name(class_tar))
            if not match:
                raise InputError(f"{path} has {class_tar.name} instead of nXXXXXXXX.tar: {_TRAIN_FILE}")
            if match[1] in classes:
                raise InputError(f"{path} has {class_tar.name} twice: {_TRAIN_FILE}")
            classes.add(match[1])
            entries += _list_class(archive, class_tar, match[1], f"{path}: {class_tar.name}")
    if not entries:
        raise InputError(f"{path} is an empty archive: {_TRAIN_FILE}")
    return entries


def _list_class(archive: tarfile.TarFile, class_tar: tarfile.TarInfo, wnid: str, where: str) -> list[Entry]:
    """Lists the photographs of one class. Offsets are relative to the outer archive."""
    entries: list[Entry] = []
    with tar_errors(where, _TRAIN_FILE), tarfile.open(fileobj=archive.extractfile(class_tar), mode="r:") as photos:
        for photo in plain_files(photos, where):
            name = _file_name(photo)
            match = _TRAIN_PHOTO.fullmatch(name)
            if not match or match[1] != wnid:
                raise InputError(f"{where} has {photo.name} instead of {wnid}_N.JPEG: {_TRAIN_FILE}")
            entries.append((name, wnid, class_tar.offset_data + photo.offset_data, photo.size))
    if not entries:
        raise InputError(f"{where} has no photographs: {_TRAIN_FILE}")
    return entries


def _list_validation(path: str, kit: Devkit, devkit: str) -> list[Entry]:
    """Lists the photographs of the validation archive, with their classes from the devkit."""
    entries: list[Entry] = []
    with open_tar(path, remedy=_VALIDATION_FILE) as archive:
        for photo in plain_files(archive, path):
            name = _file_name(photo)
            match = _VALIDATION_PHOTO.fullmatch(name)
            if not match:
                raise InputError(f"{path} has {photo.name} instead of ILSVRC2012_val_NNNNNNNN.JPEG: {_VALIDATION_FILE}")
            # By the number in the name, because the archive is not sorted by name.
            number = int(match[1])
            if not 1 <= number <= len(kit.ground_truth):
                known = f"{devkit} has the classes of {len(kit.ground_truth):,}"
                raise InputError(f"{path} has {photo.name}, but {known} photographs: give both files of ILSVRC2012")
            entries.append((name, kit.wnids[kit.ground_truth[number - 1]], photo.offset_data, photo.size))
    if not entries:
        raise InputError(f"{path} is an empty archive: {_VALIDATION_FILE}")
    return entries


def _file_name(member: tarfile.TarInfo) -> str:
    return member.name.rpartition("/")[2]
