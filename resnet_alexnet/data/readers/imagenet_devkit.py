"""Reads ImageNet's development kit of 2012 for tasks 1 and 2: the classes, and those of the validation photographs."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resnet_alexnet.data.prepare.archive import open_tar, plain_files
from resnet_alexnet.errors import InputError

DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_META = "meta.mat"


@dataclass(frozen=True)
class Devkit:
    """The contents of the development kit.

    Attributes:
        wnids: WordNet ID of each class, by ILSVRC2012_ID.
        words: words for each class, by WordNet ID, such as "tench, Tinca tinca".
        ground_truth: ILSVRC2012_ID of every validation photograph, in the order of their names.
    """

    wnids: dict[int, str]
    words: dict[str, str]
    ground_truth: tuple[int, ...]


def read_devkit(path: str, *, remedy: str) -> Devkit:
    """Reads the development kit, from its archive or from the folder of its data.

    Args:
        path: the archive DEVKIT, or a folder with GROUND_TRUTH and meta.mat in it.
        remedy: advice at the end of error messages.

    Raises:
        InputError: a file is missing, damaged or not the expected one.
    """
    files = _read_folder(path) if os.path.isdir(path) else _read_archive(path, remedy)
    for name in (_META, GROUND_TRUTH):
        if name not in files:
            raise InputError(f"{path} has no {name}: {remedy}")
    import scipy.io  # here, because it takes long to import and is seldom needed

    try:
        synsets = np.atleast_1d(scipy.io.loadmat(io.BytesIO(files[_META]), squeeze_me=True)["synsets"])
        # Synsets with children are nodes above the classes in WordNet and have no photographs.
        leaves = synsets[synsets["num_children"].astype(int) == 0]
        kit = Devkit(
            wnids={int(leaf["ILSVRC2012_ID"]): str(leaf["WNID"]) for leaf in leaves},
            words={str(leaf["WNID"]): " ".join(str(leaf["words"]).split()) for leaf in leaves},
            ground_truth=tuple(map(int, files[GROUND_TRUTH].split())),
        )
    except Exception as error:  # scipy raises errors of many types for a damaged .mat file
        raise InputError(f"{path} has a damaged {_META} or {GROUND_TRUTH} ({error}): {remedy}") from None
    if not set(kit.ground_truth) <= kit.wnids.keys():
        raise InputError(f"{path}: {GROUND_TRUTH} has classes that are not in {_META}: {remedy}")
    return kit


def _read_archive(path: str, remedy: str) -> dict[str, bytes]:
    files = {}
    with open_tar(path, remedy=remedy, mode="r:gz") as archive:
        for member in plain_files(archive, path):
            name = member.name.rpartition("/")[2]
            extracted = archive.extractfile(member)
            if name in (_META, GROUND_TRUTH) and extracted is not None:
                files[name] = extracted.read()
    return files


def _read_folder(path: str) -> dict[str, bytes]:
    files = {}
    for name in (_META, GROUND_TRUTH):
        try:
            with open(os.path.join(path, name), "rb") as file:
                files[name] = file.read()
        except OSError:
            continue
    return files


def find_devkit(is_there: Callable[[str], str]) -> str:
    """Returns the path of a development kit among the places where people have it; "" if there is none.

    Args:
        is_there: finds a file by its name or relative path; returns its path or "".
    """
    truth = is_there(GROUND_TRUTH) or is_there(f"ILSVRC2012_devkit_t12/data/{GROUND_TRUTH}")
    return os.path.dirname(truth) if truth else is_there(DEVKIT)
