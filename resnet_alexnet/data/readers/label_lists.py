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
    """What a list says about the photographs of a folder.

    Attributes:
        by_class: the photographs of each class, in their order, without those that are not listed.
        found: the names in the list that are photographs in the folder, each with the split that the list may give.
        lost: those that are not, likewise.
        elsewhere: the number of photographs that it has in another split.
    """

    by_class: dict[str, list[bytes]]
    found: frozenset[str]
    lost: tuple[str, ...]
    elsewhere: int = 0


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


def list_splits(listed: Path) -> tuple[str, ...]:
    """Returns the splits into which a list divides the photographs of one folder: the values of its column `split`.

    Empty if it has no such column, or is not there.

    Raises:
        InputError: the list cannot be read, or has a value that is no split.
    """
    if not os.path.isfile(listed):
        return ()
    found = set()
    for row in _read(listed, (), lambda name: False):
        if row.split is not None:
            found.add(_split_in(row, listed))
    return tuple(split for split in SPLIT_NAMES if split in found)


def _split_in(row: Row, listed: Path) -> str:
    split = split_of(row.split or "")
    if split is None:
        raise InputError(
            f"{listed} line {row.line} has the split '{printable(row.split or '')}' (allowed: train, val, test)"
        )
    return split


def label_photographs(
    folder: Path, photographs: Sequence[bytes], listed: Path, split: str, is_divided: bool = False
) -> Labeled:
    """Looks up the classes of the photographs in a list.

    Args:
        folder: the folder of the photographs.
        photographs: their paths in it.
        listed: a file that `find_list` has found.
        split: the split whose photographs are wanted.
        is_divided: whether the folder is that of other splits too, as the list says.

    Raises:
        InputError: the list cannot be read; or it names a photograph with two classes or splits, in another split than
            that of its folder or, if it is a list of this folder only, one that is not there.
    """
    shared = is_shared(listed, folder)
    known = _Names(photographs)
    class_of: dict[bytes, str] = {}
    split_of_each: dict[bytes, str] = {}
    found, lost, has_classes = set(), [], True
    find = functools.partial(known.find, below=folder.name, by_name=not shared)
    for row in _read(listed, photographs, lambda name: find(name.strip()) is not None):
        photograph = find(row.name)
        part = split if row.split is None else _split_in(row, listed)
        name = row.name if row.split is None else f"{row.name} of the split '{row.split}'"
        if row.label is None:
            has_classes = False
        elif photograph is None or (shared and part != split):  # the list is for the folder of that split too
            lost.append(name)
        elif part != split and not is_divided:
            raise InputError(
                f"{listed} has {printable(row.name)} in the split '{printable(row.split or '')}', but {folder} is the "
                f"{split} split: move it to the folder of its split, or remove the column"
            )
        elif split_of_each.setdefault(photograph, part) != part:
            raise InputError(
                f"{listed} line {row.line} has {printable(row.name)} in the split {part}, which is in "
                f"{split_of_each[photograph]} too: give each photograph one split"
            )
        elif part != split:
            continue
        elif class_of.setdefault(photograph, row.label) != row.label:
            raise InputError(
                f"{listed} has {printable(row.name)} as {printable(row.label)} and as "
                f"{printable(class_of[photograph])}: give each photograph one class"
            )
        else:
            found.add(name)
    if lost and not shared:
        raise InputError(
            f"{listed} names {len(lost):,} photographs that are not in {folder}, or not alone with that name, such as "
            f"{printable(lost[0])}: restore them, or remove their lines"
        )
    if not class_of and has_classes and not shared:
        raise InputError(f"{listed} names no photograph: each line must be FILE,CLASS, below the titles file,label")
    by_class: dict[str, list[bytes]] = defaultdict(list)
    for photograph in photographs:
        if photograph in class_of:
            by_class[class_of[photograph]].append(photograph)
    return Labeled(dict(by_class), frozenset(found), tuple(lost), len(split_of_each) - len(class_of))


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


def _read(listed: Path, photographs: Sequence[bytes], is_there: Callable[[str], bool]) -> Iterator[Row]:
    """Yields name and class of each listed photograph."""
    if listed.is_dir() or listed.suffix == ".gz":
        return _read_devkit(listed, photographs)
    try:
        text = listed.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{listed} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{listed} is not UTF-8 text: save it as UTF-8") from None
    return _read_table(listed, text, is_there)


def _read_table(listed: Path, text: str, is_there: Callable[[str], bool]) -> Iterator[Row]:
    """Yields the columns of file and class, by their titles in the first line or, of two columns without titles, both.

    A list of names only, as contests publish for their test photographs, has no classes.

    `is_there` tells whether a photograph has a name.
    """
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    rows = list(_read_rows(listed, text, separator))
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


def _read_rows(listed: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each row that is not blank, and the number of the line that it begins in.

    Raises:
        InputError: a quote is not closed, which would take the next lines into a name.
    """
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
