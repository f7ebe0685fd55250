"""Reads a folder of photographs: DIR/train/CLASS/*.jpg, and the same for validation and test."""

import dataclasses
import os
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64

from resnet_alexnet.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")  # case does not matter
TRAIN, TEST = "train", "test"
VALIDATION_FOLDERS = ("val", "valid", "validation")  # allowed names; only one may exist

_LAYOUT = (
    f"the layout is train/CLASS/PHOTO and optionally {'|'.join(VALIDATION_FOLDERS)}/CLASS/PHOTO, {TEST}/CLASS/PHOTO"
)


@dataclasses.dataclass(frozen=True, eq=False)
class FolderPhotos:
    """The photographs of one split, sorted by class, then by file name.

    File names are kept in one byte string. A list of 1.28 million paths takes ten times the memory, in every worker
    process.

    Attributes:
        folder: the split's folder, which contains one folder per class.
        classes: names of the class folders, sorted; a label is an index into them.
        labels: the class index of each photograph.
        names: all file names, concatenated, in the encoding of the file system.
        starts: where in `names` the name of each photograph starts; the last entry is the end of the last name.
        channels: color channels to decode to.
    """

    folder: str
    classes: tuple[str, ...]
    labels: Int32[np.ndarray, "num_photos"]
    names: bytes
    starts: Int64[np.ndarray, "num_photos+1"]
    channels: int = 3

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> tuple[bytes, int]:
        """Returns the bytes of the file of photograph `index`, and its label.

        Raises:
            InputError: the file cannot be read, for example because it was deleted after the folder was listed.
        """
        try:
            with open(self._path(index), "rb") as file:
                return file.read(), int(self.labels[index])
        except OSError as error:
            raise self._lost(index, error) from error

    def size(self, index: int) -> int:
        """Returns the file size of photograph `index`, in bytes.

        Raises:
            InputError: see `read`.
        """
        try:
            return os.stat(self._path(index)).st_size
        except OSError as error:
            raise self._lost(index, error) from error

    def _lost(self, index: int, error: OSError) -> InputError:
        return InputError(
            f"{self.where(index)} cannot be read ({error.strerror}), though it existed when the folder was listed: "
            "repair or remove it, then start again"
        )

    def where(self, index: int) -> str:
        """Returns the path of photograph `index`, for messages."""
        return _printable(self._path(index))

    def _path(self, index: int) -> bytes:
        name = self.names[self.starts[index] : self.starts[index + 1]]
        return os.path.join(os.fsencode(self.folder), os.fsencode(self.classes[self.labels[index]]), name)


def read_image_folder(data_dir: str | os.PathLike[str]) -> dict[str, FolderPhotos]:
    """Lists the photographs in `data_dir`: the splits of "train", "validation" and "test" that have a folder.

    A photograph is a file directly in a class folder with one of `SUFFIXES`. Hidden files and folders, other files,
    pipes and devices are ignored. Links are followed. `cat1.jpg` and `cat1.png` are two photographs. Names that differ
    only in case are refused, because they are one file on some disks. Nothing is decoded here.

    Raises:
        InputError: data_dir is empty, is not a folder, or has another layout; a class has no photographs; classes
            differ between splits; names differ only in case.
    """
    if not data_dir:
        raise InputError(f"image_folder needs data_dir: {_LAYOUT}")
    folders = _split_folders(Path(data_dir))
    splits = {split: _list_split(folder) for split, folder in folders.items()}
    first = next(iter(splits))
    classes = splits[first].classes
    for split, photos in splits.items():
        missing = sorted(set(classes) - set(photos.classes))
        unknown = sorted(set(photos.classes) - set(classes))
        if missing or unknown:
            parts = [f"lacks {_listed(missing)}"] * bool(missing) + [f"also has {_listed(unknown)}"] * bool(unknown)
            raise InputError(
                f"{folders[split]} {' and '.join(parts)}: it must have the same class folders as {folders[first]}; "
                "add or remove class folders"
            )
    return splits


def _split_folders(data_dir: Path) -> dict[str, Path]:
    """Returns the folder of each split that exists."""
    if not os.path.isdir(data_dir):
        state = "is a file" if os.path.exists(data_dir) else "does not exist"
        raise InputError(f"data_dir {data_dir} {state}: it must be a folder of photographs ({_LAYOUT})")
    validation = [name for name in VALIDATION_FOLDERS if os.path.isdir(data_dir / name)]
    if len(validation) > 1:
        raise InputError(f"{data_dir} has the folders {_listed(validation)}: keep only one for validation")
    names = {TRAIN: TRAIN, "validation": (validation or [""])[0], TEST: TEST}
    folders = {split: data_dir / name for split, name in names.items() if name and os.path.isdir(data_dir / name)}
    if not folders:
        raise InputError(f"{data_dir} has no folder {TRAIN}: {_remedy(data_dir)}")
    return folders


def _remedy(data_dir: Path) -> str:
    """Returns advice for a data_dir without a train folder."""
    folders = [data_dir / name for name in _folders(data_dir)]
    inner = [folder for folder in folders if os.path.isdir(folder / TRAIN)]
    if inner:
        return f"it is one level down; set data_dir to {inner[0]}"
    if any(_photo_names(folder) for folder in folders[:10]):
        return f"put the class folders into {data_dir / TRAIN}"
    found = _listed([folder.name for folder in folders])
    return f"{_LAYOUT}; the folders found are {found}" if found else f"{_LAYOUT}; it has no folders"


def _list_split(folder: Path) -> FolderPhotos:
    """Lists the photographs of one split."""
    classes = _folders(folder)
    if not classes:
        raise InputError(f"{folder} has no class folders: {_LAYOUT}")
    _check_case(folder, [os.fsencode(name) for name in classes])
    counts, names, lengths = [], [], [np.zeros(1, np.int64)]
    for name in classes:
        found = _photo_names(folder / name)
        if not found:
            raise InputError(
                f"{folder / name} has no photographs ({', '.join(SUFFIXES)}): add some, or remove the class folder "
                "from every split"
            )
        _check_case(folder / name, found)
        counts.append(len(found))
        names.append(b"".join(found))
        lengths.append(np.array([len(photo) for photo in found]))
    return FolderPhotos(
        folder=str(folder),
        classes=tuple(classes),
        labels=np.repeat(np.arange(len(classes), dtype=np.int32), counts),
        names=b"".join(names),
        starts=np.cumsum(np.concatenate(lengths)),
    )


def _folders(folder: Path) -> list[str]:
    """Returns the names of the folders in `folder` that are not hidden, sorted."""
    # os.path is only used for links, because it is slower. For a loop of links it returns False; DirEntry raises.
    names = sorted(
        entry.name for entry in _scan(folder) if (os.path.isdir(entry) if entry.is_symlink() else entry.is_dir())
    )
    for name in names:
        if name != _printable(os.fsencode(name)):
            raise InputError(f"the name of {_printable(os.fsencode(folder / name))} is not UTF-8: rename the folder")
    return names


def _photo_names(folder: Path) -> list[bytes]:
    """Returns the names of the photographs in `folder`, sorted. Includes broken links, so that reading reports them."""
    # Sorted as bytes, by code point, independent of the locale.
    return sorted(
        os.fsencode(entry.name)
        for entry in _scan(folder)
        if entry.name.lower().endswith(SUFFIXES)
        and (os.path.isfile(entry) or not os.path.exists(entry) if entry.is_symlink() else entry.is_file())
    )


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """Returns the entries of `folder` that are not hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}") from error


def _check_case(folder: Path, names: list[bytes]) -> None:
    """Raises InputError if two names in `folder` differ only in case."""
    if len({name.lower() for name in names}) == len(names):
        return
    seen: dict[bytes, bytes] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise InputError(
                f"{folder} has both {_printable(other)} and {_printable(name)}, which are the same file on disks that "
                "ignore case: rename or remove one"
            )


def _listed(names: list[str]) -> str:
    """Lists the first five names, and the number of further names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _printable(name: bytes) -> str:
    return name.decode("utf-8", errors="backslashreplace")
