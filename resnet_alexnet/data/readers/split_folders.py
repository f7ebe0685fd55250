"""Which folders of photographs are the splits of a data set, by the usual names of such folders."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_alexnet.data.readers.label_lists import LABELS, Tables, find_list, list_splits
from resnet_alexnet.data.readers.photo_files import LeftOut, list_folders, list_photographs
from resnet_alexnet.data.readers.split_names import SplitName, read_split_name
from resnet_alexnet.errors import InputError, list_names, printable

LAYOUT = (
    "the layout is train/CLASS/PHOTO and optionally val|valid|validation/CLASS/PHOTO, test/CLASS/PHOTO, or the like"
)
IMAGES = "images"  # a folder that is no class: Tiny ImageNet's, between the split or the class and the photographs
_GTSRB = {"train": "Final_Training/Images", "test": "Final_Test/Images"}  # the traffic signs, as published
_KAGGLE = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # where Kaggle's ImageNet has the folders of the splits
_DEEPEST, _MOST_LISTED = 4, 100  # levels, and folders, in which splits are looked for


class _Found(NamedTuple):
    """The splits in a folder: the names of the folders, and those of two for one split."""

    folders: dict[str, str]
    twice: dict[str, list[str]]


def find_splits(data_dir: Path, left_out: LeftOut, report: Callable[[str], None], tables: Tables) -> dict[str, Path]:
    """Returns the folder of each split that exists. It may be `data_dir` itself, which is reported.

    Splits are never guessed: where their folders have unusual names, are further down or in the folders of the
    classes, an error says so, because they would be taken as classes.

    Raises:
        InputError: there is none, or two are for the same split; the message names the folder to give instead.
    """
    if not os.path.isdir(data_dir):
        state = "is a file" if os.path.exists(data_dir) else "does not exist"
        raise InputError(f"data_dir {data_dir} {state}: it must be a folder of photographs ({LAYOUT})")
    data_dir = next((data_dir / inner for inner in _KAGGLE if os.path.isdir(data_dir / inner)), data_dir)
    names = list_folders(data_dir, left_out)
    found = _splits_among(data_dir, names)
    for split, both in found.twice.items():
        raise InputError(f"{data_dir} has the folders {list_names(both)}: keep only one for {split}")
    published = {split: data_dir / inner for split, inner in _GTSRB.items() if os.path.isdir(data_dir / inner)}
    if found.folders or published:
        folders = published | {split: data_dir / name for split, name in found.folders.items()}
        used = {folder.relative_to(data_dir).parts[0] for folder in folders.values()}
        if others := [name for name in names if name not in used]:
            if "train" not in folders:
                _check_below(data_dir, others)
            report(printable(f"not read in {data_dir}: {list_names(others)}, which is the name of no split"))
        return folders
    left_out.folders.clear()  # the same folder is listed once more
    own, beside = _own_split(data_dir)
    if os.path.isfile(data_dir / LABELS) or (is_flat(own, names) and find_list(data_dir)):
        return dict.fromkeys(list_splits(data_dir / LABELS, tables) or (own,), data_dir)
    _check_classes(data_dir, names)
    what = "training" if own == "train" else own
    more = f"; to use {list_names(beside)} too, set data_dir to {data_dir.resolve().parent}" if beside else ""
    classes = f"its {len(names)} folders are the classes of a {what} split: {list_names(names)}"
    report(printable(f"{data_dir} has no folder train: {classes}{more}"))
    return {own: data_dir}


def enter_splits(folders: Mapping[str, Path], report: Callable[[str], None]) -> dict[str, Path]:
    """Replaces the folder of each split by the one in which its classes lie: its name or another may come in between.

    Such a folder, as in train/train/CLASS, is all that there is, and has folders. `report` is called with a warning
    if the class folders of the first split all have the same folders.

    Raises:
        InputError: one of the class folders of a split holds a copy of the others.
    """
    entered = {split: _enter(folder, split) for split, folder in folders.items()}
    if "train" in folders:
        way = entered["train"].relative_to(folders["train"])
        for split, folder in folders.items() if way.parts else ():
            if entered[split] == folder and os.path.isdir(folder / way):
                entered[split] = folder / way
    alike = [_find_alike(split, folder) for split, folder in entered.items()]
    if alike and alike[0]:
        report(printable(alike[0]))
    return entered


def _enter(folder: Path, split: str) -> Path:
    names = list_folders(folder, LeftOut())
    if len(names) != 1 or find_list(folder):
        return folder
    inner, is_no_class = folder / names[0], is_flat(split, names)
    if not is_no_class and (split != "train" or _has_photographs(inner)):  # another split may have only one class
        return folder
    return _enter(inner, split) if find_list(inner) or list_folders(inner, LeftOut()) else folder


def is_flat(split: str, names: Sequence[str]) -> bool:
    """Whether a folder of this split, with these folders, has no class folders: test/1.jpg or test/images/1.jpg."""
    if not names:
        return True
    read = read_split_name(names[0])
    return len(names) == 1 and (names[0].lower() == IMAGES or (read is not None and read.split == split))


def _splits_among(folder: Path, names: Sequence[str]) -> _Found:
    """Finds the splits among the folders with these names in a folder.

    The word alone (train) comes before the usual forms (training_set). Other forms (seg_train) are splits if another
    split has the same form (seg_test), or if there is no other folder. A folder called train may be a class, the
    vehicle: it then has no folders, and lies among other classes.
    """
    read = {name: found for name in names if (found := read_split_name(name))}
    forms = Counter(form for form, _ in {(found.form, found.split) for found in read.values()})

    def rank(name: str, found: SplitName) -> int:
        return 2 if not found.is_usual else int(bool(found.form))

    def is_split(found: SplitName) -> bool:
        return found.is_usual or forms[found.form] > 1 or len(names) == 1

    ranked: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, found in read.items():
        if is_split(found):
            ranked[found.split][rank(name, found)].append(name)
    usual = any(min(ranks) < 2 for ranks in ranked.values())
    best = {split: ranks[min(ranks)] for split, ranks in ranked.items() if not usual or min(ranks) < 2}
    if set(best) == {"train"} and len(names) > 1 and _is_class(folder / best["train"][0]):
        return _Found({}, {})
    order = [split for split in ("train", "validation", "test") if split in best]
    return _Found(
        {split: best[split][0] for split in order}, {split: best[split] for split in order if len(best[split]) > 1}
    )


def _is_class(folder: Path) -> bool:
    """Whether a folder has photographs, but no folders and no list of their classes."""
    return (
        not list_folders(folder, LeftOut()) and find_list(folder) is None and bool(list_photographs(folder, LeftOut()))
    )


def _own_split(folder: Path) -> tuple[str, list[str]]:
    """Returns the split that a folder is by its own name and by those beside it, and the names of the latter."""
    place = folder.resolve()
    own = read_split_name(place.name)
    if own is None:
        return "train", []
    beside = list_folders(place.parent, LeftOut())
    while beside == [place.name] and is_flat(own.split, [place.parent.name]):  # seg_test/seg_test/CLASS
        place = place.parent
        beside = list_folders(place.parent, LeftOut())
    found = _splits_among(place.parent, beside).folders
    others = [name for split, name in found.items() if split != own.split] if place.name in found.values() else []
    return own.split if others or (own.split, own.form) == ("validation", "") else "train", others


def _check_classes(data_dir: Path, names: Sequence[str]) -> None:
    """Raises InputError if the folders in `data_dir` are not the classes of one split."""
    no_train = f"{data_dir} has no folder train"
    for name in names:
        if (found := read_split_name(name)) and list_folders(data_dir / name, LeftOut()):
            raise InputError(
                f"{no_train}, but {printable(name)}, which is not taken as a class: set data_dir to "
                f"{printable(str(data_dir / name))} if its folders are classes, or call it {found.split}"
            )
    _check_below(data_dir, names)
    only = data_dir / names[0] if len(names) == 1 else None
    if only and only.name.lower() != IMAGES and list_folders(only, LeftOut()) and not _has_photographs(only):
        raise InputError(f"{no_train}, and only one folder; if its folders are classes, set data_dir to {only}")
    if not any(list_photographs(data_dir / name, LeftOut()) for name in names[:10]):
        holds = f"the folders found are {list_names(names)}" if names else "it has no folders"
        raise InputError(f"{no_train}: {LAYOUT}; {holds}")


def _check_below(data_dir: Path, names: Sequence[str]) -> None:
    """Raises InputError if there are splits in the folders with these names."""
    for name, within in _splits_below(data_dir, names):
        inside = [
            other
            for other in names
            if _splits_among(data_dir / other, list_folders(data_dir / other, LeftOut())).folders
        ]
        if within.parent == data_dir and len(inside) > 1:
            raise InputError(
                f"{data_dir} has the splits in the folders of the classes ({printable(f'{within.name}/{name}')}): make "
                f"them {printable(f'{name}/{within.name}')}, for each class"
            )
        levels = len(within.relative_to(data_dir).parts)
        down = "one level" if levels == 1 else f"{levels} levels"
        raise InputError(f"{data_dir} has no folder train: it is {down} down; set data_dir to {printable(str(within))}")


def _find_alike(split: str, folder: Path) -> str:
    """Returns a warning if all class folders in the folder of a split have the same folders, else an empty string.

    Raises:
        InputError: one of them holds a copy of the others.
    """
    names = list_folders(folder, LeftOut())
    if is_flat(split, names) or os.path.isfile(folder / LABELS):
        return ""
    inner = [list_folders(folder / name, LeftOut()) for name in names[:_MOST_LISTED]]
    for name, folders in zip(names, inner, strict=False):
        if len(both := sorted(set(folders) & {*names} - {name})) > 1:
            raise InputError(
                f"{printable(str(folder / name))} has the folders {list_names(both)}, which lie beside it too: "
                "remove it, if it is a copy"
            )
    if len(names) > 1 and len(inner[0]) > 1 and all(folders == inner[0] for folders in inner):
        return (
            f"warning: each of {list_names(names)} in {folder} has the folders {list_names(inner[0])}: are these the "
            "classes?"
        )
    return ""


def _has_photographs(folder: Path) -> bool:
    return bool(list_photographs(folder, LeftOut(), deep=False))


def _splits_below(data_dir: Path, names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yields the names of folders that are splits, and the folders that they are in, level by level."""
    level, left = [data_dir / name for name in names], _MOST_LISTED
    for _ in range(_DEEPEST):
        deeper = []
        for folder in level[: max(left, 0)]:
            inner = list_folders(folder, LeftOut())
            found = _splits_among(folder, inner).folders
            if "train" in found or len(found) > 1:  # not a class with a folder called val
                yield next(iter(found.values())), folder
            deeper += [folder / name for name in inner]
        left -= len(level)
        level = deeper
