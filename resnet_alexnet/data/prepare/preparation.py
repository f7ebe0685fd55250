"""The folder of a set from the first shard to the last: begun, gone on with after a stop, finished.

OUTPUT/NAME/VERSION.incomplete holds what is done so far; only when all of it is there does it become
OUTPUT/NAME/VERSION. So a folder of that name is a whole set.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from resnet_alexnet.data.images.decode import UnreadableImageError
from resnet_alexnet.data.photos import Photos
from resnet_alexnet.data.prepare.recode import CHROMA, SIDE, Recoding, recode
from resnet_alexnet.data.prepare.shards import (
    GO_ON,
    Record,
    Set,
    Shard,
    count_records,
    digest_sizes,
    load_records,
    write_metadata,
)
from resnet_alexnet.data.statistics import save_statistics
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write, read_json, write_json

MANIFEST, STATISTICS, WORDS = "manifest.json", "statistics.npz", "label.words.txt"
_SETTINGS = "settings.json"
_SIZES = "sizes_sha256"
_SAMPLE, _MARGIN = 256, 1.1  # photographs that the room needed is estimated from, and how much more to have
_RECORD_BYTES = 150  # of a photograph's record besides the photograph
_LISTED = 100  # names at most that the manifest lists of the photographs that were encoded anew for one reason
_MAKERS = ("resnet_alexnet", "simplejpeg", "opencv-python-headless", "pillow", "array_record", "tensorflow-datasets")


def settings(
    recoding: Recoding,
    photos_per_shard: int,
    splits: Mapping[str, Photos],
    names: Mapping[str, Sequence[str]],
    sizes: Mapping[str, Int64[np.ndarray, "num_photos"]],
) -> dict[str, Any]:
    """What the files of a set depend on, as JSON values. Two preparations with the same go on from one another."""
    return {
        **asdict(recoding),
        "chroma": CHROMA,
        "photos_per_shard": photos_per_shard,
        "classes": len(next(iter(splits.values())).classes),
        "photographs": {split: len(photos) for split, photos in splits.items()},
        "photographs_sha256": {split: _digest(photos, names[split]) for split, photos in splits.items()},
        _SIZES: {split: digest_sizes(of_split) for split, of_split in sizes.items()},
    }


def _digest(photos: Photos, names: Sequence[str]) -> str:
    """A checksum of the photographs' names, classes and labels."""
    digest = hashlib.sha256("\n".join([*photos.classes, *names]).encode())
    if photos.labels is not None:
        digest.update(photos.labels.tobytes())
    return digest.hexdigest()


def is_prepared(final: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether `final` holds the set that is wanted; False where nothing is there.

    Raises:
        InputError: it holds something else.
    """
    if not final.exists():
        return False
    remedy = "choose another --output or --name, or remove it"
    try:
        manifest = read_json(final / MANIFEST)
        found, files = manifest["settings"], {name: entry["bytes"] for name, entry in manifest["files"].items()}
    except (InputError, TypeError, KeyError, AttributeError):
        raise InputError(f"{final} is there, and was not made by this command: {remedy}") from None
    if found != wanted:
        raise InputError(f"{final} was prepared with {_difference(found, wanted)}: {remedy}")
    for name, size in files.items():
        path = final / name
        if not path.is_file() or path.stat().st_size != size:
            raise InputError(f"{path} is missing or not whole: remove {final}, and run the same command again")
    return True


@contextlib.contextmanager
def opened(folder: Path, wanted: Mapping[str, Any]) -> Iterator[None]:
    """Makes the folder of a preparation, or takes up the one that was left there, for this process alone.

    Raises:
        InputError: it was begun with other settings, another process is at it, or it cannot be written.
    """
    try:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "records").mkdir(exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): choose another --output") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder} is being written by another process: wait until it has ended") from None
        _check_settings(folder / _SETTINGS, wanted)
        _remove_half_written(folder)
        try:
            yield
        finally:
            _remove_half_written(folder)
    finally:
        os.close(lock)


def _remove_half_written(folder: Path) -> None:
    """Removes what processes were writing when they were killed."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def _check_settings(path: Path, wanted: Mapping[str, Any]) -> None:
    """Compares the settings with those that are there; where no shard is finished yet, writes them."""
    folder = path.parent
    if not any((folder / "records").glob("[!.]*")):
        for shard in (folder / "data").iterdir():  # without a record, and perhaps of other settings
            shard.unlink()
        write_json(path, wanted, remedy=GO_ON)
        return
    try:
        found = read_json(path)
    except InputError as error:
        raise InputError(f"{error}; remove {folder}, then begin anew") from None
    # Where photographs were replaced since, perhaps because they could not be read, their shards are written again.
    if {**found, _SIZES: wanted[_SIZES]} != wanted:
        raise InputError(
            f"{folder} was begun with {_difference(found, wanted)}: give the same settings to go on, or remove it to "
            "begin anew"
        )


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    differing = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    return "; ".join(
        f"other photographs ({name})"
        if name.endswith("sha256")
        else f"{name} {found.get(name)}, not {wanted.get(name)}"
        for name in differing
    )


def check_room(prepared: Set, shards: Sequence[Shard]) -> str:
    """Says how much there is to write and how much room there is.

    Raises:
        InputError: there is not enough room, by an estimate from some photographs.
    """
    sizes = []
    # Shards are in random order, so that their first photographs are a fair sample.
    for shard in shards[:: -(-len(shards) // 8)]:
        for index in map(int, shard.indices[: _SAMPLE // 8]):
            with contextlib.suppress(UnreadableImageError):
                sizes.append(len(recode(prepared.splits[shard.split].read(index)[0], prepared.recoding).data))
    num_photos = sum(len(shard.indices) for shard in shards)
    # Each record has the sums of the mean image.
    total = num_photos * (sum(sizes) / max(1, len(sizes)) + _RECORD_BYTES) * _MARGIN + len(shards) * 4 * 3 * SIDE**2
    there = sum(path.stat().st_size for path in prepared.data.iterdir())
    free = shutil.disk_usage(prepared.folder).free
    if total - there > free:
        raise InputError(
            f"{prepared.folder} needs about {format_bytes(total - there)} more, going by {len(sizes)} photographs, but "
            f"its disk has {format_bytes(free)} free: make room, or choose another --output or a smaller --resize"
        )
    done = f" ({count_records(prepared)} of {len(shards)} files are there)" if there else ""
    return f"about {format_bytes(total)} to write{done}, {format_bytes(free)} free"


def format_bytes(size: float) -> str:
    """Bytes in words, such as 83.1 GB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def finish(
    prepared: Set, shards: Sequence[Shard], final: Path, *, wanted: Mapping[str, Any], words: Mapping[str, str]
) -> dict[str, Any]:
    """Writes what stands beside the shards and gives the folder its name; returns the manifest.

    Args:
        prepared: the set, all its shards written.
        shards: all shards.
        final: the folder that the set is to be.
        wanted: its settings.
        words: words for the classes, by class name.

    Raises:
        InputError: a split has no photograph that can be read.
    """
    records, measurements = load_records(prepared, shards)
    by_split = {
        split: [record for record, shard in zip(records, shards, strict=True) if shard.split == split]
        for split in prepared.splits
    }
    for split, of_split in by_split.items():
        if not any(record.records for record in of_split):
            raise InputError(f"none of the {len(prepared.splits[split])} photographs of {split} can be read")
    write_metadata(prepared, final.name, by_split)
    if measurements.squares.count:
        save_statistics(prepared.data / STATISTICS, measurements.finish(), remedy=GO_ON)
    if words:
        with atomic_write(prepared.data / WORDS, remedy=GO_ON) as temporary:
            lines = "".join(f"{words.get(name, name)}\n" for name in prepared.classes)
            temporary.write_text(lines, encoding="utf-8")
    manifest = {
        "name": prepared.name,
        "version": final.name,
        "settings": dict(wanted),
        "made_with": {package: _version(package) for package in _MAKERS},
        "splits": {split: _summary(of_split) for split, of_split in by_split.items()},
        "files": _list_files(prepared.data, records),
    }
    write_json(prepared.data / MANIFEST, manifest, remedy=GO_ON)
    os.sync()  # all of it, before it gets the name that says so
    os.rename(prepared.data, final)
    shutil.rmtree(prepared.folder, ignore_errors=True)
    return manifest


def _summary(records: Sequence[Record]) -> dict[str, Any]:
    """What became of the photographs of a split."""
    changed: dict[str, list[str]] = {}
    unreadable: dict[str, str] = {}
    for record in records:
        unreadable |= record.unreadable
        for reason, names in record.changed.items():
            changed.setdefault(reason, []).extend(names)
    anew = {name for names in changed.values() for name in names}
    num_records = sum(record.records for record in records)
    return {
        "records": num_records,
        "as_published": num_records - len(anew),
        "encoded_anew": {
            reason: {"photographs": len(names), "first": names[:_LISTED]} for reason, names in sorted(changed.items())
        },
        "unreadable": unreadable,
    }


def _list_files(folder: Path, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Size and checksum of every file in `folder`, and of shards the number of records."""
    files = {
        record.file: {"bytes": record.bytes, "sha256": record.sha256, "records": record.records} for record in records
    }
    for path in folder.iterdir():
        if path.name not in files and path.name != MANIFEST:
            data = path.read_bytes()
            files[path.name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return dict(sorted(files.items()))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
