"""Finds a set in the folders of TensorFlow Datasets (TFDS): DATA_DIR/NAME/[CONFIG/]VERSION."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from resnet_alexnet.data.readers.split_names import read_split_name
from resnet_alexnet.errors import InputError, nearest
from resnet_alexnet.files import read_json

FILE_FORMAT = "array_record"  # TFDS's format with random access to single records
INFO_FILE = "dataset_info.json"

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_IMAGENET = "imagenet2012"
# The packages that every tfds command imports.
_TFDS_NEEDS = "from an environment with tensorflow tensorflow-datasets apache-beam mlcroissant importlib_resources"


class _Found(NamedTuple):
    """A version folder, with config and version from its metadata or, if it has none, from its path."""

    folder: Path
    config: str
    version: str


def find_tfds(name: str, data_dir: str | os.PathLike[str]) -> Path | None:
    """Returns the folder of the newest version of a set that matches `name`, or None.

    Args:
        name: the set's name, optionally with config and version: "NAME[/CONFIG][:VERSION]".
        data_dir: the folder of all sets, or the folder of this set, of its config or of its version.

    Raises:
        InputError: the set has several configs, and `name` does not select one.
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
        raise InputError(f"{root} has {name} in {len(configs)} configs: choose one of {name}/{{{','.join(configs)}}}")
    newest = max(found, key=lambda one: [int(number) for number in re.findall(r"\d+", one.version)], default=None)
    return newest and newest.folder


def check_tfds(name: str, data_dir: str | os.PathLike[str]) -> Path:
    """Returns the version folder of a set that is complete and in array_record format.

    Raises:
        InputError: there is none. The message has the command that builds or converts the set.
    """
    folder = find_tfds(name, data_dir)
    make = (
        f"python -m resnet_alexnet.data.prepare --train=FILE --val=FILE --devkit=FILE --output={data_dir}"
        if name == _IMAGENET
        else f"tfds build {name} --data_dir={data_dir} --file_format={FILE_FORMAT} ({_TFDS_NEEDS})"
    )
    if folder is None:
        begun = next((Path(data_dir) / name).glob("*incomplete*"), None)  # as named by TFDS and data.prepare
        problem = f"{begun} is incomplete" if begun else _not_there(name, Path(data_dir))
        inside = os.scandir(data_dir) if os.path.isdir(data_dir) else ()
        names = [entry.name for entry in inside if entry.is_dir()]
        if any((found := read_split_name(each)) and found.split == "train" for each in names):
            raise InputError(f"{problem}; if these are photographs in class folders, set dataset.name=image_folder")
        raise InputError(f"{problem}; to build it: {make}")
    info = read_info(folder)
    if not info:
        raise InputError(
            f"{folder} has no readable {INFO_FILE}: the set is incomplete or damaged; to build it again: {make}"
        )
    formats = [info.get("fileFormat") or "tfrecord", *info.get("alternativeFileFormats", ())]
    if FILE_FORMAT not in formats:
        raise InputError(
            f"{folder} has {' and '.join(formats)} files, which only TensorFlow reads; to add {FILE_FORMAT} files: "
            f"tfds convert_format --dataset_version_dir={folder} --out_file_format={FILE_FORMAT} ({_TFDS_NEEDS})"
        )
    return folder


def read_info(folder: Path) -> dict[str, Any]:
    """Returns the contents of `dataset_info.json`, or {} if it is missing or damaged."""
    try:
        return read_json(folder / INFO_FILE)
    except InputError:
        return {}


def _list(place: Path, name: str, *, unfinished: bool = False) -> list[_Found]:
    """Lists the version folders of a set: `place` itself, those in it, and those in its config folders.

    With `unfinished`, folders without readable metadata are included.
    """
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
    """Returns a message that the set is not in the folder, with what the folder has."""
    if not data_dir.is_dir():
        state = "is a file" if data_dir.exists() else "does not exist"
        return f"no TFDS set {name!r}: data_dir {data_dir} {state}"
    inside = [path.parent for pattern in ("*", "*/*", "*/*/*") for path in data_dir.glob(f"{pattern}/{INFO_FILE}")]
    sets = sorted({read_info(folder).get("name", "") for folder in (data_dir, *inside)} - {""})
    names = sets or sorted(entry.name for entry in data_dir.iterdir())
    holds = ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5) or "nothing"
    return f"no TFDS set {name!r}{nearest(name, sets)} in data_dir {data_dir}, which has {holds}"
