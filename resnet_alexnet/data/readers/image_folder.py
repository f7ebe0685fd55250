"""Reads a folder of photographs: DIR/train/CLASS/*.jpg, and the other layouts in which photographs are published."""

import dataclasses
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from resnet_alexnet.data.images.decode import UnreadableImageError
from resnet_alexnet.data.readers.label_lists import (
    LABELS,
    Labeled,
    Tables,
    check_shared,
    find_list,
    is_shared,
    label_photographs,
    lists_beside,
)
from resnet_alexnet.data.readers.photo_files import SUFFIXES, LeftOut, list_folders, list_photographs
from resnet_alexnet.data.readers.split_folders import LAYOUT, enter_splits, find_splits, is_flat
from resnet_alexnet.errors import InputError, list_names, printable

_ONE_ON_SOME_DISKS = "which are one on disks that ignore case"
_MOST_NOTES = 5  # lines about one split


@dataclasses.dataclass(frozen=True, eq=False)
class FolderPhotos:
    """The photographs of one split, sorted by class, then by path.

    File names are kept in one byte string. A list of 1.28 million paths takes ten times the memory, in every worker
    process.

    Attributes:
        folder: the split's folder.
        classes: names of the classes, sorted; a label is an index into them.
        labels: the class index of each photograph.
        names: the paths of all photographs below their folder, concatenated, in the encoding of the file system.
        starts: where in `names` the path of each photograph starts; the last entry is the end of the last path.
        in_classes: whether the split's folder contains one folder per class, in which the paths are.
        channels: color channels to decode to.
    """

    folder: str
    classes: tuple[str, ...]
    labels: Int32[np.ndarray, "num_photos"]
    names: bytes
    starts: Int64[np.ndarray, "num_photos+1"]
    in_classes: bool = True
    channels: int = 3

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> tuple[bytes, int]:
        """Returns the bytes of the file of photograph `index`, and its label.

        Raises:
            UnreadableImageError: the file is there and cannot be read, such as a link that leads to no file.
            InputError: it is not there any more.
        """
        path = self._path(index)
        try:
            with open(path, "rb") as file:
                return file.read(), int(self.labels[index])
        except OSError as error:
            if os.path.lexists(path):
                why = ", a link that leads to no file" * (not os.path.exists(path))
                raise UnreadableImageError(f"{error.strerror}{why}") from None
            raise self._lost(index, error) from error

    def size(self, index: int) -> int:
        """Returns the file size of photograph `index`, in bytes; of a link that leads to no file, its own.

        Raises:
            InputError: see `read`.
        """
        path = self._path(index)
        try:
            return (os.stat if os.path.exists(path) else os.lstat)(path).st_size
        except OSError as error:
            raise self._lost(index, error) from error

    def _lost(self, index: int, error: OSError) -> InputError:
        return InputError(
            f"{self.where(index)} cannot be read ({error.strerror}), though it existed when the folder was listed: "
            "restore it, then start again"
        )

    def where(self, index: int) -> str:
        """Returns the path of photograph `index`, for messages."""
        return printable(os.fsdecode(self._path(index)))

    def name(self, index: int) -> str:
        """Returns the path of photograph `index` in the split's folder. It is unique."""
        path = self._path(index)[len(os.fsencode(self.folder)) + 1 :]
        return path.decode("utf-8", errors="backslashreplace")

    def _path(self, index: int) -> bytes:
        inner = os.fsencode(self.classes[self.labels[index]]) if self.in_classes else b""
        return os.path.join(os.fsencode(self.folder), inner, self.names[self.starts[index] : self.starts[index + 1]])


def read_image_folder(
    data_dir: str | os.PathLike[str], *, report: Callable[[str], None] = print
) -> dict[str, FolderPhotos]:
    """Lists the photographs in `data_dir`: the splits of "train", "validation" and "test" that it has.

    A photograph is a file, at any depth in its class folder, with one of `photo_files.SUFFIXES`. Hidden files and
    folders, other files, pipes and devices are ignored. Links are followed. `cat1.jpg` and `cat1.png` are two
    photographs. Nothing is decoded here. The classes are those of the training split, or of all splits if it is not
    there; another split may lack some of them.

    Args:
        data_dir: contains a folder for each split, with a folder for each class; or only folders of classes, which are
            a training split; or photographs whose classes are in a list, see `label_lists`.
        report: called with each line about what is left out, or is another set on another disk.

    Raises:
        InputError: data_dir is empty, is not a folder, or has another layout; a class of the training split has no
            photographs; a split has classes that the training split lacks; a list does not fit its photographs.
    """
    if not data_dir:
        raise InputError(f"image_folder needs data_dir: {LAYOUT}")
    left_out, tables = LeftOut(), Tables()
    folders = enter_splits(find_splits(Path(data_dir), left_out, report, tables), report)
    parts: dict[str, _Listed] = {}
    for folder in dict.fromkeys(folders.values()):  # one for several splits, if a list divides it
        splits = [split for split, other in folders.items() if other == folder]
        parts |= _list_folder(splits, folder, left_out, tables)
    for line in (*left_out.describe(str(data_dir)), *(line for part in parts.values() for line in part.notes)):
        report(printable(line))
    splits = {split: part for split, part in parts.items() if part.photographs}
    if not splits:
        raise InputError(f"{data_dir} has no photographs with classes: {LAYOUT}")
    first = next(iter(splits.values()))
    with_classes = [first] if "train" in splits else splits.values()
    classes = sorted({name for part in with_classes for name in part.photographs})
    for same in _same(classes, _plain, _ONE_ON_SOME_DISKS if first.in_classes else "which differ only in case"):
        report(printable(f"warning: {first.folder} has the classes {same}"))
    shared = {part.folder: part.shared for part in splits.values() if part.shared}
    check_shared(shared, is_for_all=len(shared) == len(splits), report=report)
    return {split: _to_photos(part.named_as(classes, first.folder), classes) for split, part in splits.items()}


class _Listed(NamedTuple):
    """A split as its folder has it.

    Attributes:
        folder: the folder.
        photographs: the paths of the photographs of each class, below `folder` or its class folder.
        in_classes: see `FolderPhotos`.
        notes: lines about what was left out.
        shared: what a list for all splits says about it, if its classes are from one.
    """

    folder: Path
    photographs: Mapping[str, Sequence[bytes]]
    in_classes: bool
    notes: tuple[str, ...] = ()
    shared: Labeled | None = None

    def named_as(self, classes: Sequence[str], others: Path) -> "_Listed":
        """Returns the split with its classes called as in `classes`, of the folder `others`.

        In lists, numbers often lack the zeros at the beginning that class folders have.

        Raises:
            InputError: it has other classes, or two that are one of `classes`.
        """
        called = {name: name for name in self.photographs}
        if not self.in_classes:
            numbers = Counter(int(name) for name in classes if name.isdecimal())
            by_number = {str(int(name)): name for name in classes if name.isdecimal() and numbers[int(name)] == 1}
            called |= {name: by_number.get(name, name) for name in called if name not in classes}
        if len(set(called.values())) < len(called):
            twice = [name for name, other in called.items() if name != other and other in called]
            raise InputError(
                f"the list of {self.folder} has the classes {list_names(twice)} and the same numbers with zeros in "
                f"front: name each class as {others} does"
            )
        unknown = sorted(set(called.values()) - set(classes))
        if unknown and self.folder == others:
            raise InputError(
                f"the list of {others} has the classes {list_names(unknown)} only in splits that are not trained on: a "
                "class needs photographs in the split train"
            )
        if unknown:
            raise InputError(
                f"{self.folder} has the classes {list_names(unknown)}, which {others} lacks: a class needs photographs "
                "to be trained on; add or remove class folders"
            )
        return self._replace(photographs={called[name]: found for name, found in self.photographs.items()})


def _to_photos(listed: _Listed, classes: Sequence[str]) -> FolderPhotos:
    found = [listed.photographs.get(name, ()) for name in classes]
    lengths = [len(photograph) for photographs in found for photograph in photographs]
    return FolderPhotos(
        folder=str(listed.folder),
        classes=tuple(classes),
        labels=np.repeat(np.arange(len(classes), dtype=np.int32), [len(photographs) for photographs in found]),
        names=b"".join(photograph for photographs in found for photograph in photographs),
        starts=np.cumsum([0, *lengths], dtype=np.int64),
        in_classes=listed.in_classes,
    )


def _list_folder(splits: Sequence[str], folder: Path, left_out: LeftOut, tables: Tables) -> dict[str, _Listed]:
    """Lists the photographs of a folder, by class folders or by a list of their classes.

    Args:
        splits: the splits whose folder it is: one, or those into which a list divides it.
        folder: the folder.
        left_out: gets what is left out.
        tables: for the list.

    Raises:
        InputError: a training split has neither, or a class without photographs.
    """
    split, names = splits[0], list_folders(folder, left_out)
    flat = is_flat(split, names)
    listed = find_list(folder) if flat or os.path.isfile(folder / LABELS) else None
    photographs = list_photographs(folder, left_out) if flat or listed else []
    labeled = label_photographs(folder, photographs, listed, splits, tables) if listed is not None else {}
    if listed is not None and any(part.by_class for part in labeled.values()):
        by_class = [each for part in labeled.values() for each in part.by_class.items()]
        others = len(photographs) - sum(len(found) for _, found in by_class)
        notes = (f"left out of {folder}: {others:,} photographs that {listed} does not name",) * bool(others)
        if _differ(by_class, above=int(flat)):
            notes += (f"the classes in {folder} are those of {listed}, not of the folders",)
        shared = is_shared(listed, folder)
        return {
            name: _Listed(folder, part.by_class, False, notes if name == split else (), part if shared else None)
            for name, part in labeled.items()
        }
    if not flat:
        unread = [path for path in lists_beside(folder) if os.path.isfile(path)]
        notes = tuple(f"{path} is not read for {folder}, which has class folders" for path in unread)
        part = _list_classes(split, folder, names, left_out)
        return {split: part._replace(notes=part.notes + notes)}
    if split == "train" and listed is not None and labeled[split].lost and photographs:
        raise InputError(
            f"{listed} names no photograph of {folder}: it has {printable(labeled[split].lost[0])}, and the folder has "
            f"{printable(os.fsdecode(photographs[0]))}; the names must be the same, in capitals too"
        )
    if split == "train":
        raise InputError(f"{folder} has no class folders: {LAYOUT}, or photographs and {LABELS} with file,label")
    holds = (
        f"{len(photographs):,} photographs, but no folders or list of their classes"
        if photographs
        else "no photographs"
    )
    return {split: _Listed(folder, {}, True, (f"{folder} has {holds}: there is no {split} split",))}


def _differ(by_class: Iterable[tuple[str, Sequence[bytes]]], above: int) -> bool:
    """Whether photographs lie in folders, `above` that are no classes, that are not called as their class in a list."""
    folders = ((name, os.fsdecode(path).split("/")[above:-1]) for name, paths in by_class for path in paths)
    return any(inside and name not in inside for name, inside in folders)


def _list_classes(split: str, folder: Path, names: Iterable[str], left_out: LeftOut) -> _Listed:
    photographs, notes = {}, []
    for name in names:
        if name != name.encode("utf-8", "replace").decode():
            raise InputError(f"the name of {printable(str(folder / name))} is not UTF-8: rename the folder")
        found = list_photographs(folder / name, left_out)
        if found:
            photographs[name] = found
        elif split == "train":
            unread = next(left_out.describe(str(folder)), "")
            raise InputError(
                f"{printable(str(folder / name))} has no photographs ({', '.join(SUFFIXES)}): add some, or remove the "
                f"class folder from every split{'; ' * bool(unread)}{unread}"
            )
        for same in _same(list(map(os.fsdecode, found)), str.lower, _ONE_ON_SOME_DISKS):
            notes.append(f"warning: {folder / name} has {same}")
    beside = len(list_photographs(folder, left_out, deep=False))
    if beside:
        notes.append(f"left out of {folder}: {beside:,} photographs beside the class folders")
    if not photographs:
        notes.append(f"{folder} has no photographs in class folders: there is no {split} split")
    return _Listed(folder, photographs, True, tuple(notes[:_MOST_NOTES]))


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().lower()


def _same(names: Sequence[str], form: Callable[[str], str], why: str) -> Iterator[str]:
    """Yields a line about the names that are the same in a form, if there are any: `why` where only case differs."""
    if len({form(name) for name in names}) == len(names):
        return
    seen: dict[str, str] = {}
    pairs = [(other, name) for name in names if (other := seen.setdefault(form(name), name)) != name]
    if all(other.lower() == name.lower() for other, name in pairs):
        yield f"{list_names([f'{printable(other)} and {printable(name)}' for other, name in pairs])}, {why}"
    else:  # which look the same: their code points are shown
        shown = [f"{other!a} and {name!a}" for other, name in pairs]
        yield f"{list_names(shown)}, which differ only in case, blanks around them or Unicode form"
