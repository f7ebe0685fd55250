"""Classes of photographs that are listed in a file, as data sets are published whose folders are not classes."""

import csv
import functools
import io
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from resnet_alexnet.data.readers.imagenet_devkit import find_devkit, read_devkit
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
_VALIDATION_PHOTO = re.compile(r"ILSVRC2012_val_(\d{8})\.")
_ABOVE = 4  # folders above the photographs in which ImageNet's lists are looked for
_REMEDY = f"put the whole devkit there, with meta.mat, or {_KAGGLE}"

Rows = list[tuple[str, str]]  # names of photographs, with or without folder and suffix, and their classes


def find_list(folder: Path) -> Path | None:
    """Returns the file that lists the classes of the photographs in `folder`, or None.

    That is one of these, the first that exists: `labels.csv` in it; the list of Tiny ImageNet's validation split or of
    GTSRB's test split in it; a .csv beside it with its name; `labels.csv` beside it, for all splits; or, for ImageNet's
    validation photographs, Kaggle's list or the devkit in one of the folders above.
    """
    beside = folder.with_name(f"{folder.name}.csv") if folder.name else folder / LABELS
    for path in (folder / LABELS, folder / _TINY, folder / _GTSRB, beside, folder.with_name(LABELS)):
        if os.path.isfile(path):
            return path
    if folder.name.lower() not in ("val", "valid", "validation"):
        return None
    above = [folder, *folder.absolute().parents][: _ABOVE + 1]

    def is_there(name: str) -> str:
        return next((str(place / name) for place in above if os.path.isfile(place / name)), "")

    found = is_there(_KAGGLE) or find_devkit(is_there)
    return Path(found) if found else None


def label_photographs(folder: Path, photographs: Sequence[bytes], listed: Path) -> dict[str, list[bytes]]:
    """Returns the photographs of each class by a list, in their order, without those that are not listed.

    Args:
        folder: the folder of the photographs.
        photographs: their paths in it.
        listed: a file that `find_list` has found.

    Raises:
        InputError: the list cannot be read; or it names a photograph with two classes or, if it is a list of this
            folder only, one that is not there.
    """
    is_shared = listed == folder.with_name(LABELS)
    known = _Names(photographs)
    class_of: dict[bytes, str] = {}
    lost = []
    find = functools.partial(known.find, below=folder.name, by_name=not is_shared)
    for name, label in _read(listed, photographs, lambda name: find(name.strip()) is not None):
        photograph = find(name)
        if photograph is None:
            lost.append(name)
        elif class_of.setdefault(photograph, label) != label:
            raise InputError(
                f"{listed} has {printable(name)} as {printable(label)} and as {printable(class_of[photograph])}: give "
                "each photograph one class"
            )
    if lost and not is_shared:
        raise InputError(
            f"{listed} names {len(lost):,} photographs that are not in {folder}, or not alone with that name, such as "
            f"{printable(lost[0])}: restore them, or remove their lines"
        )
    if not class_of and not is_shared:
        raise InputError(f"{listed} names no photograph: each line must be FILE,CLASS, below the titles file,label")
    by_class: dict[str, list[bytes]] = defaultdict(list)
    for photograph in photographs:
        if photograph in class_of:
            by_class[class_of[photograph]].append(photograph)
    return dict(by_class)


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


def _read(listed: Path, photographs: Sequence[bytes], is_there: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
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


def _read_table(listed: Path, text: str, is_there: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Yields the columns of file and class, by their titles in the first line or, of two columns without titles, both.

    `is_there` tells whether a photograph has a name.
    """
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(map(str.strip, row))]
    except csv.Error as error:
        raise InputError(f"{listed} is not a table: {error}") from None
    titles = [title.strip().lower() for title in rows[0]] if rows else []
    file, label = (
        next((titles.index(title) for title in known if title in titles), None)
        for known in (_FILE_COLUMNS, _LABEL_COLUMNS)
    )
    if file is not None and label is not None:
        rows = rows[1:]
    elif len(titles) <= 2 or listed.name == _TINY:
        file, label = 0, 1
        rows = rows[not is_there(rows[0][0]) and len(rows) > 1 and is_there(rows[1][0]) :] if rows else rows
    else:
        raise InputError(
            f"{listed} has the columns {printable(', '.join(titles))}: name that of the photographs file, and that of "
            "their classes label"
        )
    for number, row in enumerate(rows, start=1):
        if len(row) <= max(file, label) or not row[file].strip() or not row[label].strip():
            raise InputError(
                f"{listed} row {number} has no file or no class: each line must be FILE,CLASS, below the titles "
                "file,label"
            )
        name = row[label].strip()
        # Kaggle's list has boxes behind the class.
        yield row[file].strip(), name.split()[0] if listed.name == _KAGGLE else name


def _read_devkit(path: Path, photographs: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    kit = read_devkit(str(path), remedy=_REMEDY)
    for photograph in photographs:
        name = os.fsdecode(os.path.basename(photograph))
        match = _VALIDATION_PHOTO.match(name)
        if match and 1 <= int(match[1]) <= len(kit.ground_truth):
            yield os.fsdecode(photograph), kit.wnids[kit.ground_truth[int(match[1]) - 1]]
