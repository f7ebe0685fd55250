"""Which files in a folder are photographs, at any depth; and which are left out, so that it can be said."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from resnet_alexnet.data.images.decode import is_surely_image
from resnet_alexnet.errors import InputError, printable

# Names of photographs end in one of these. Case does not matter.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
    *(".avif", ".avifs", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# Names of other images end in one of these. They are read if they are photographs by their content.
_OTHER_SUFFIXES = (
    *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".svg", ".eps", ".psd", ".xcf", ".tga", ".ico", ".pcx", ".exr", ".hdr"),
    *(".raw", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw", ".dcm", ".fits"),
    *(".jif", ".jfi", ".jps", ".j2c", ".jpc", ".jph"),
    *(".bpg", ".dds", ".flif", ".jpf", ".jpx", ".mpo", ".pfm", ".ras", ".sgi", ".wbmp", ".xbm", ".xpm"),
)
# Folders that systems leave behind, in small letters; hidden ones, with a dot, are left out anyway.
_LEFT_BEHIND = {
    *("__macosx", "lost+found", "$recycle.bin", "recycler", "system volume information"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@__thumb", "network trash folder"),
    *("lost.dir", "temporary items", "@snapshot", "~snapshot", "@appstore", "@sharebin", "__pycache__"),
    *(f"found.{number:03}" for number in range(1000)),  # of Windows' check of a disk
}
_FIRST = 32  # bytes that tell a photograph


@dataclass
class LeftOut:
    """What was left out of folders.

    Attributes:
        files: counts of images of other kinds, by suffix.
        suffixed: counts of images whose names go on behind a suffix, by suffix.
        folders: counts of folders that systems left behind, by name.
    """

    files: Counter[str] = field(default_factory=Counter)
    suffixed: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)

    def describe(self, place: str) -> Iterator[str]:
        """Yields a line about each kind of what was left out, if there is any; `place` is where they are."""
        if self.files:
            counts = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(self.files.items()))
            yield f"left out of {printable(place)}: {counts}, images of kinds that are not read; convert them to JPEG"
        if +self.suffixed:  # without those that were no images
            counts = ", ".join(f"{count:,} {suffix}*" for suffix, count in sorted((+self.suffixed).items()))
            yield f"left out of {printable(place)}: {counts}, images with more behind the suffix; rename them"
        if self.folders:
            counts = ", ".join(f"{count:,} {printable(name)}" for name, count in sorted(self.folders.items()))
            yield f"passed over in {printable(place)}: {counts}, folders that systems leave behind"


def list_folders(folder: Path, left_out: LeftOut) -> list[str]:
    """Returns the sorted names of the folders in `folder`, without hidden ones and those that systems leave behind."""
    return sorted(entry.name for entry in _scan(folder) if _is_folder(entry) and not _is_left_behind(entry, left_out))


def list_photographs(folder: Path, left_out: LeftOut, *, deep: bool = True) -> list[bytes]:
    """Returns the names of the photographs in `folder`, as paths relative to it, sorted part by part.

    They are at any depth or, without `deep`, directly in the folder.

    Links are followed, except to a folder that the link is in. Broken links are included, so that reading reports them.
    """
    found: list[list[bytes]] = []  # the parts of each path
    waiting: list[tuple[bytes, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        here = Path(folder, *map(os.fsdecode, parts))
        for entry in _scan(here):
            if _is_folder(entry):
                if (
                    deep
                    and not _is_left_behind(entry, left_out)
                    and not (entry.is_symlink() and _is_above(entry, here))
                ):
                    waiting.append((*parts, os.fsencode(entry.name)))
            elif _is_photograph(entry, left_out):
                found.append([*parts, os.fsencode(entry.name)])
    # Sorted as bytes, by code point, independent of the locale.
    return [b"/".join(parts) for parts in sorted(found)]


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """Returns the entries of `folder` that are not hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}") from error


# os.path is only used for links, because it is slower. For a loop of links it returns False; DirEntry raises.


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file or a broken link, but no pipe or device."""
    return os.path.isfile(entry) or not os.path.exists(entry) if entry.is_symlink() else entry.is_file()


def _is_left_behind(entry: os.DirEntry[str], left_out: LeftOut) -> bool:
    if entry.name.lower() not in _LEFT_BEHIND:
        return False
    left_out.folders[entry.name] += 1
    return True


def _is_above(link: os.DirEntry[str], folder: Path) -> bool:
    """Whether a link in `folder` leads to the folder itself or to one that it is in, also by the way it was reached."""
    place = os.path.realpath(link)
    return any(Path(os.path.realpath(above)).is_relative_to(place) for above in (folder, *folder.absolute().parents))


def _is_photograph(entry: os.DirEntry[str], left_out: LeftOut) -> bool:
    name = entry.name.lower()
    if name.endswith(SUFFIXES):
        return _is_file(entry)
    suffix = os.path.splitext(name)[1]
    if suffix not in _OTHER_SUFFIXES and (inner := next((known for known in SUFFIXES if known in name), None)):
        # As browsers and wget name files: photo.jpg_large, photo.jpg.1. Also a.jpg.txt, which is not an image.
        left_out.suffixed[inner] += _is_file(entry) and _begins_as_image(entry)
        return False
    if (suffix and suffix not in _OTHER_SUFFIXES) or not _is_file(entry):
        return False
    is_photograph = _begins_as_image(entry)
    if suffix and not is_photograph:
        left_out.files[suffix] += 1
    return is_photograph


def _begins_as_image(entry: os.DirEntry[str]) -> bool:
    try:
        with open(entry, "rb") as file:
            return is_surely_image(file.read(_FIRST))
    except OSError:
        return False
