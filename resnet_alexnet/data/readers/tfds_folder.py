"""Finds a set in the folders of TensorFlow Datasets: DATA_DIR/NAME/[CONFIG/]VERSION."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from resnet_alexnet.data.readers.image_folder import TRAIN
from resnet_alexnet.errors import InputError, nearest
from resnet_alexnet.files import read_json

FILE_FORMAT = "array_record"  # of TFDS's formats the one with random access to single records
INFO_FILE = "dataset_info.json"

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_IMAGENET = "imagenet2012"
# What the tfds command imports, whatever it is to do.
_TFDS_NEEDS = "from an environment with tensorflow tensorflow-datasets apache-beam mlcroissant importlib_resources"


class _Found(NamedTuple):
    """A version folder, and what it says it is, or what its path says if it has no metadata."""

    folder: Path
    config: str
    version: str


def find_tfds(name: str, data_dir: str | os.PathLike[str]) -> Path | None:
    """The version folder of a set; of several versions the newest; None if there is none.

    Args:
        name: the set's name, with config or version where one is to be chosen: "NAME[/CONFIG][:VERSION]".
        data_dir: the folder of all sets, or the folder of this set, of its config or of its version.

    Raises:
        InputError: the set has several configs, and the name chooses none.
    """
    if not data_dir:
        return None
    name, _, version = name.partition(":")
    name, _, config = name.partition("/")
    root = Path(data_dir)
    found = [
        one
        for one in _list(root / name, name, unfinished=True) or _list(root, name)
        if version in ("", one.version) and config in ("", one.config)
    ]
    configs = sorted({one.config for one in found})
    if len(configs) > 1:
        raise InputError(f"{root} has {name} in {len(configs)} configs: name one of {name}/{{{','.join(configs)}}}")
    newest = max(found, key=lambda one: [int(number) for number in re.findall(r"\d+", one.version)], default=None)
    return newest and newest.folder


def check_tfds(name: str, data_dir: str | os.PathLike[str]) -> Path:
    """The version folder of a set whose preparation was finished, in a format that we read.

    Raises:
        InputError: there is none; the message has the command that makes or converts it.
    """
    folder = find_tfds(name, data_dir)
    make = (
        f"python -m resnet_alexnet.data.prepare --train=FILE --val=FILE --devkit=FILE --output={data_dir}"
        if name == _IMAGENET
        else f"tfds build {name} --data_dir={data_dir} --file_format={FILE_FORMAT} ({_TFDS_NEEDS})"
    )
    if folder is None:
        begun = next((Path(data_dir) / name).glob("*incomplete*"), None)  # as TFDS and our own command call them
        problem = f"{begun} was not made to the end" if begun else _not_there(name, Path(data_dir))
        if (Path(data_dir) / TRAIN).is_dir():
            raise InputError(f"{problem}; if these are photographs in class folders, set dataset.name=image_folder")
        raise InputError(f"{problem}; to make it: {make}")
    info = read_info(folder)
    if not info:
        raise InputError(
            f"{folder} has no readable {INFO_FILE}: the set was not made to the end, or is damaged; to make it: {make}"
        )
    formats = [info.get("fileFormat") or "tfrecord", *info.get("alternativeFileFormats", ())]
    if FILE_FORMAT not in formats:
        raise InputError(
            f"{folder} holds {' and '.join(formats)} files, which only TensorFlow reads; to add {FILE_FORMAT} files: "
            f"tfds convert_format --dataset_version_dir={folder} --out_file_format={FILE_FORMAT} ({_TFDS_NEEDS})"
        )
    return folder


def read_info(folder: Path) -> dict[str, Any]:
    """What `dataset_info.json` says; empty where there is none, or a damaged one."""
    try:
        return read_json(folder / INFO_FILE)
    except InputError:
        return {}


def _list(place: Path, name: str, *, unfinished: bool = False) -> list[_Found]:
    """The version folders of a set: `place`, those in it and in its config folders."""
    found = []
    below = [folder for pattern in ("*", "*/*") for folder in place.glob(pattern) if _VERSION.fullmatch(folder.name)]
    for folder in (place, *below):
        info = read_info(folder)
        if info.get("name") == name:
            found.append(_Found(folder, info.get("configName", ""), info.get("version", folder.name)))
        elif unfinished and not info and folder in below:
            config = folder.parent.relative_to(place)
            found.append(_Found(folder, config.name, folder.name))
    return found


def _not_there(name: str, data_dir: Path) -> str:
    """Says that a set is not in the folder, and what is."""
    if not data_dir.is_dir():
        state = "is a file" if data_dir.exists() else "does not exist"
        return f"no TFDS set {name!r}: data_dir {data_dir} {state}"
    inside = [path.parent for pattern in ("*", "*/*", "*/*/*") for path in data_dir.glob(f"{pattern}/{INFO_FILE}")]
    sets = sorted({read_info(folder).get("name", "") for folder in (data_dir, *inside)} - {""})
    names = sets or sorted(entry.name for entry in data_dir.iterdir())
    holds = ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5) or "nothing"
    return f"no TFDS set {name!r}{nearest(name, sets)} in data_dir {data_dir}, which holds {holds}"
