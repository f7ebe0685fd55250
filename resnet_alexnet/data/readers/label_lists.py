"""Classes of photographs that are listed in a file, as data sets are published whose folders are not classes."""

import csv
import functools
import io
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_alexnet.data.readers.imagenet_devkit import find_devkit, read_devkit
from resnet_alexnet.data.readers.split_names import SPLIT_NAMES, split_of
from resnet_alexnet.errors import InputError, printable

LABELS = "labels.csv"
_TINY, _KAGGLE, _GTSRB = "val_annotations.txt", "LOC_val_solution.csv", "GT-final_test.csv"
_FILE_COLUMNS = (
    "file",
    "filename",
    "file_name",
    "path",
    "filepath",
    "image",
    "image_id",
    "imageid",
    "img",
    "name",
    "id",
)
_LABEL_COLUMNS = (
    "label",
    "class",
    "classid",
    "class_id",
    "class_name",
    "category",
    "target",
    "breed",
    "predictionstring",
)
_SPLIT_COLUMNS = ("split", "subset", "set", "partition", "usage")
_VALIDATION_PHOTO = re.compile(r"ILSVRC2012_val_(\d{8})\.")
_WHOLE = re.compile(r"(\d+)\.0+")  # 1.0, as spreadsheets write some of the 1 in a column
_QUOTES = 'write a quote in a name as "" inside of quotes'
_UNCLOSED = f"a quote is not closed on its line; close it, or {_QUOTES}"
_ABOVE = 4  # folders above the photographs in which ImageNet's lists are looked for
_REMEDY = f"put the whole devkit there, with meta.mat, or {_KAGGLE}"


class Row(NamedTuple):
    """A line of a list: a photograph, with or without folder and suffix, its class and its split, if it has these.

    `line` is its number in the file, from 1.
    """

    line: int
    name: str
    label: str | None = None
    split: str | None = None


class Labeled(NamedTuple):
    """What a list says about the photographs of a split in a folder.

    Attributes:
        by_class: the photographs of each class, in their order, without those that are not listed.
        found: the names in the list that are photographs in the folder, each with the split that the list may give.
        lost: those that are not, likewise.
    """

    by_class: dict[str, list[bytes]]
    found: frozenset[str]
    lost: tuple[str, ...]


class Tables:
    """The lists of a data set as tables: each file is read once."""

    def __init__(self) -> None:
        self._rows: dict[Path, list[tuple[int, list[str]]]] = {}

    def read(self, listed: Path) -> list[tuple[int, list[str]]]:
        """Returns the rows of a list that are not blank, and the number of the line that each begins in.

        Raises:
            InputError: it cannot be read, is not UTF-8, or has a quote that is not closed.
        """
        if listed not in self._rows:
            self._rows[listed] = list(_read_rows(listed))
        return self._rows[listed]


def find_list(folder: Path) -> Path | None:
    """Returns the file that lists the classes of the photographs in `folder`, or None.

    That is one of these, the first that exists: `labels.csv` in it; the list of Tiny ImageNet's validation split or of
    GTSRB's test split in it; a .csv beside it with its name; `labels.csv` beside it, for all splits; or, for ImageNet's
    validation photographs, Kaggle's list or the devkit in one of the folders above.
    """
    for path in (folder / LABELS, folder / _TINY, folder / _GTSRB, *lists_beside(folder)):
        if os.path.isfile(path):
            return path
    if folder.name.lower() not in ("val", "valid", "validation"):
        return None
    above = [folder, *folder.absolute().parents][: _ABOVE + 1]

    def is_there(name: str) -> str:
        return next((str(place / name) for place in above if os.path.isfile(place / name)), "")

    found = is_there(_KAGGLE) or find_devkit(is_there)
    return Path(found) if found else None


def lists_beside(folder: Path) -> tuple[Path, ...]:
    """Returns where lists of the photographs in `folder` may lie beside it: its own, and one for all splits."""
    return (folder.with_name(f"{folder.name}.csv"), folder.with_name(LABELS)) if folder.name else ()


def is_shared(listed: Path, folder: Path) -> bool:
    """Whether a list that `find_list` has found for `folder` is for the folders beside it too."""
    return listed in lists_beside(folder)[1:]


def list_splits(listed: Path, tables: Tables) -> tuple[str, ...]:
    """Returns the splits into which a list divides the photographs of one folder: the values of its column `split`.

    Empty if it has no such column, or is not there.

    Raises:
        InputError: the list cannot be read, or has a value that is no split.
    """
    if not os.path.isfile(listed):
        return ()
    rows = _read_table(listed, tables.read(listed), lambda name: False)
    found = {_split_in(row, listed) for row in rows if row.split is not None}
    return tuple(split for split in SPLIT_NAMES if split in found)


def _split_in(row: Row, listed: Path) -> str:
    split = split_of(row.split or "")
    if split is None:
        raise InputError(
            f"{listed} line {row.line} has the split '{printable(row.split or '')}' (allowed: train, val, test)"
        )
    return split


def label_photographs(
    folder: Path, photographs: Sequence[bytes], listed: Path, splits: Sequence[str], tables: Tables
) -> dict[str, Labeled]:
    """Looks up the classes of the photographs in a list; returns what it says about each split.

    Args:
        folder: the folder of the photographs.
        photographs: their paths in it.
        listed: a file that `find_list` has found.
        splits: the splits whose folder it is: one, or those into which the list divides it.
        tables: for lists that are tables.

    Raises:
        InputError: the list cannot be read; or it names a photograph with two classes or splits, in another split than
            that of its folder or, if it is a list of this folder only, one that is not there.
    """
    shared = is_shared(listed, folder)
    known = _Names(photographs)
    class_of: dict[str, dict[bytes, str]] = {split: {} for split in splits}
    split_of_each: dict[bytes, str] = {}
    found: dict[str, set[str]] = {split: set() for split in splits}
    lost, has_classes = [], True
    find = functools.partial(known.find, below=folder.name, by_name=not shared)
    if listed.is_dir() or listed.suffix == ".gz":
        rows = _read_devkit(listed, photographs)
    else:
        rows = _read_table(listed, tables.read(listed), lambda name: find(name.strip()) is not None)
    for row in rows:
        photograph = find(row.name)
        part = splits[0] if row.split is None else _split_in(row, listed)
        name = row.name if row.split is None else f"{row.name} of the split '{row.split}'"
        if row.label is None:
            has_classes = False
        elif photograph is None or (shared and part not in splits):  # the list is for the folder of that split too
            lost.append(name)
        elif part not in splits:
            raise InputError(
                f"{listed} has {printable(row.name)} in the split '{printable(row.split or '')}', but {folder} is the "
                f"{splits[0]} split: move it to the folder of its split, or remove the column"
            )
        elif split_of_each.setdefault(photograph, part) != part:
            raise InputError(
                f"{listed} line {row.line} has {printable(row.name)} in the split {part}, which is in "
                f"{split_of_each[photograph]} too: give each photograph one split"
            )
        elif (label := class_of[part].setdefault(photograph, row.label)) != row.label:
            raise InputError(
                f"{listed} has {printable(row.name)} as {printable(row.label)} and as {printable(label)}: give each "
                "photograph one class"
            )
        else:
            found[part].add(name)
    if lost and not shared:
        raise InputError(
            f"{listed} names {len(lost):,} photographs that are not in {folder}, or not alone with that name, such as "
            f"{printable(lost[0])}: restore them, or remove their lines"
        )
    if not split_of_each and has_classes and not shared:
        raise InputError(f"{listed} names no photograph: each line must be FILE,CLASS, below the titles file,label")
    return {
        split: Labeled(_by_class(photographs, class_of[split]), frozenset(found[split]), tuple(lost))
        for split in splits
    }


def _by_class(photographs: Sequence[bytes], class_of: Mapping[bytes, str]) -> dict[str, list[bytes]]:
    by_class: dict[str, list[bytes]] = defaultdict(list)
    for photograph in photographs:
        if photograph in class_of:
            by_class[class_of[photograph]].append(photograph)
    return dict(by_class)


def check_shared(parts: Mapping[Path, Labeled], *, is_for_all: bool, report: Callable[[str], None]) -> None:
    """Checks a list for all splits.

    Args:
        parts: what it says about each folder that it has classes for.
        is_for_all: whether these are the folders of all splits.
        report: called with a line about names without a photograph, unless the list is for all splits.

    Raises:
        InputError: two folders have a name in the list or, if it is for all splits, no folder has it.
    """
    for (folder, labeled), (other, others) in itertools.combinations(parts.items(), 2):
        if both := sorted(labeled.found & others.found):
            raise InputError(
                f"{folder.with_name(LABELS)} has {printable(both[0])}, which is in {folder.name} and in {other.name}: "
                f"put the folder in front ({folder.name}/{printable(both[0])}), or move the list into the folder that "
                "it is for"
            )
    lost = sorted(frozenset.intersection(*(frozenset(labeled.lost) for labeled in parts.values()))) if parts else []
    if not lost:
        return
    what = f"{next(iter(parts)).with_name(LABELS)} names {len(lost):,} photographs that"
    if is_for_all:
        raise InputError(f"{what} no split has, such as {printable(lost[0])}: restore them, or remove their lines")
    names = ", ".join(folder.name for folder in parts)
    report(printable(f"warning: {what} are not in {names}, such as {lost[0]}"))


class _Names:
    """Finds photographs by their path, their name without folder, or these without suffix, if it is only one."""

    def __init__(self, photographs: Iterable[bytes]):
        self._found: list[dict[str, bytes | None]] = [{}, {}, {}, {}]
        for photograph in photographs:
            for names, name in zip(self._found, _forms(os.fsdecode(photograph)), strict=True):
                names[name] = None if name in names else photograph  # None: several have this name

    def find(self, name: str, *, below: str, by_name: bool) -> bytes | None:
        """Returns the photograph called `name`, perhaps with the folder `below` in front; None if it is not there.

        With `by_name`, folders that differ are not counted.
        """
        name = os.path.normpath(name.replace("\\", "/")).removeprefix(f"{below}/")
        own = os.path.basename(name) if by_name else name
        tried = zip((name, own, name, own), self._found, strict=True)
        return next((names[one] for one, names in tried if names.get(one) is not None), None)


def _forms(path: str) -> tuple[str, str, str, str]:
    name = os.path.basename(path)
    return path, name, os.path.splitext(path)[0], os.path.splitext(name)[0]


def _read_table(listed: Path, rows: Sequence[tuple[int, list[str]]], is_there: Callable[[str], bool]) -> Iterator[Row]:
    """Yields the columns of file and class, by their titles in the first line or, of two columns without titles, both.

    A list of names only, as contests publish for their test photographs, has no classes.

    `is_there` tells whether a photograph has a name.
    """
    titles = [title.strip().lower() for title in rows[0][1]] if rows else []
    file, label, split = (
        next((titles.index(title) for title in known if title in titles), None)
        for known in (_FILE_COLUMNS, _LABEL_COLUMNS, _SPLIT_COLUMNS)
    )
    if file is not None and label is not None:
        rows = rows[1:]
    elif rows and all(len(row) == 1 for _, row in rows):
        yield from (Row(line, row[0].strip()) for line, row in rows)
        return
    elif len(titles) <= 2 or listed.name == _TINY:
        file, label, split = 0, 1, None
        rows = rows[not is_there(rows[0][1][0]) and len(rows) > 1 and is_there(rows[1][1][0]) :] if rows else rows
    else:
        raise InputError(
            f"{listed} has the columns {printable(', '.join(titles))}: name that of the photographs file, and that of "
            "their classes label"
        )
    labels = {row[label].strip() for _, row in rows if len(row) > label}
    for line, row in rows:
        if any("\n" in row[column] for column in (file, label, split) if column is not None and column < len(row)):
            raise InputError(f"{listed} line {line}: {_UNCLOSED}")
        if len(row) <= max(file, label) or not row[file].strip() or not row[label].strip():
            raise InputError(
                f"{listed} line {line} has no file or no class: each line must be FILE,CLASS, below the titles "
                "file,label"
            )
        name = row[label].strip()
        whole = _WHOLE.fullmatch(name)
        if whole and whole[1] in labels:
            name = whole[1]
        # Kaggle's list has boxes behind the class.
        part = None if split is None else row[split].strip() if len(row) > split else ""
        yield Row(line, row[file].strip(), name.split()[0] if listed.name == _KAGGLE else name, part)


def _read_rows(listed: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = listed.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{listed} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{listed} is not UTF-8 text: save it as UTF-8") from None
    separator = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    line = 1
    try:
        for row in reader:
            if any(map(str.strip, row)):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        why = _UNCLOSED if "unexpected end" in str(error) else f"{error}; {_QUOTES}"
        raise InputError(f"{listed} line {line}: {why}") from None


def _read_devkit(path: Path, photographs: Sequence[bytes]) -> Iterator[Row]:
    kit = read_devkit(str(path), remedy=_REMEDY)
    for photograph in photographs:
        name = os.fsdecode(os.path.basename(photograph))
        match = _VALIDATION_PHOTO.match(name)
        if match and 1 <= int(match[1]) <= len(kit.ground_truth):
            yield Row(0, os.fsdecode(photograph), kit.wnids[kit.ground_truth[int(match[1]) - 1]])
