"""The folder of a set in preparation: created, resumed after an interruption, finished.

OUTPUT/NAME/VERSION.incomplete has the files written so far. It becomes OUTPUT/NAME/VERSION only when the set is
complete.
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
    FINISHED,
    RESUME,
    Set,
    Shard,
    ShardInfo,
    count_finished,
    digest_sizes,
    load_infos,
    write_metadata,
)
from resnet_alexnet.data.statistics import save_statistics
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write, read_json, write_json

MANIFEST, STATISTICS, WORDS = "manifest.json", "statistics.npz", "label.words.txt"
_SETTINGS = "settings.json"
_SIZES = "sizes_sha256"
_SAMPLE, _MARGIN = 256, 1.1  # photographs to estimate the disk space from, and the safety factor of the estimate
_RECORD_BYTES = 150  # size of a record without the photograph
_LISTED = 100  # names to list in the manifest, at most, for each reason to re-encode photographs
_MAKERS = ("resnet_alexnet", "simplejpeg", "opencv-python-headless", "pillow", "array_record", "tensorflow-datasets")


def settings(
    recoding: Recoding,
    photos_per_shard: int,
    splits: Mapping[str, Photos],
    names: Mapping[str, Sequence[str]],
    sizes: Mapping[str, Int64[np.ndarray, "num_photos"]],
) -> dict[str, Any]:
    """Returns all that determines the files of a set, as JSON values. With equal settings, one run resumes another."""
    stored = asdict(recoding)
    del stored["max_pixels"]  # decides what can be read, not how it is stored
    return {
        **stored,
        "chroma": CHROMA,
        "photos_per_shard": photos_per_shard,
        "classes": len(next(iter(splits.values())).classes),
        "photographs": {split: len(photos) for split, photos in splits.items()},
        "photographs_sha256": {split: _digest(photos, names[split]) for split, photos in splits.items()},
        _SIZES: {split: digest_sizes(of_split) for split, of_split in sizes.items()},
    }


def _digest(photos: Photos, names: Sequence[str]) -> str:
    """Returns a checksum of the photographs' names, classes and labels."""
    digest = hashlib.sha256("\n".join([*photos.classes, *names]).encode())
    if photos.labels is not None:
        digest.update(photos.labels.tobytes())
    return digest.hexdigest()


def is_prepared(final: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether `final` is the complete set with the settings `wanted`. False if it does not exist.

    Raises:
        InputError: it exists, but is another set, or is damaged.
    """
    if not final.exists():
        return False
    remedy = "choose another --output or --name, or remove it"
    try:
        manifest = read_json(final / MANIFEST)
        found, files = manifest["settings"], {name: entry["bytes"] for name, entry in manifest["files"].items()}
    except (InputError, TypeError, KeyError, AttributeError):
        raise InputError(f"{final} exists, but was not made by this command: {remedy}") from None
    if found != wanted:
        raise InputError(f"{final} was prepared with {_difference(found, wanted)}: {remedy}")
    for name, size in files.items():
        path = final / name
        if not path.is_file() or path.stat().st_size != size:
            raise InputError(f"{path} is missing or incomplete: remove {final}, then run the same command again")
    return True


@contextlib.contextmanager
def opened(folder: Path, wanted: Mapping[str, Any]) -> Iterator[None]:
    """Creates the folder of a preparation, or resumes in an existing one, and locks it for this process.

    Raises:
        InputError: the folder has other settings, is locked by another process, or cannot be written.
    """
    try:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / FINISHED).mkdir(exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): choose another --output") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder} is being written by another process: wait until it ends") from None
        _check_settings(folder / _SETTINGS, wanted)
        _remove_half_written(folder)
        try:
            yield
        finally:
            _remove_half_written(folder)
    finally:
        os.close(lock)


def _remove_half_written(folder: Path) -> None:
    """Removes the temporary files of processes that were killed."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def _check_settings(path: Path, wanted: Mapping[str, Any]) -> None:
    """Compares the settings with those in the folder, or writes them if no shard is finished yet."""
    folder = path.parent
    if not any((folder / FINISHED).glob("[!.]*")):
        for shard in (folder / "data").iterdir():  # not known to be finished, and perhaps of other settings
            shard.unlink()
        write_json(path, wanted, remedy=RESUME)
        return
    try:
        found = read_json(path)
    except InputError as error:
        raise InputError(f"{error}; remove {folder} to start over") from None
    # Other sizes are allowed: photographs may have been repaired. Their shards are written again.
    if {**found, _SIZES: wanted[_SIZES]} != wanted:
        raise InputError(
            f"{folder} was started with {_difference(found, wanted)}: use the same settings to resume, or remove it to "
            "start over"
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
    """Returns a line with the estimated size of the set and the free disk space.

    Raises:
        InputError: the disk space is too small, by an estimate from some photographs.
    """
    sizes = []
    # Shards are in random order, so their first photographs are a random sample.
    for shard in shards[:: -(-len(shards) // 8)]:
        for index in map(int, shard.indices[: _SAMPLE // 8]):
            with contextlib.suppress(UnreadableImageError):
                sizes.append(len(recode(prepared.splits[shard.split].read(index)[0], prepared.recoding).data))
    num_photos = sum(len(shard.indices) for shard in shards)
    # Each finished shard also stores the sums for the mean image.
    total = num_photos * (sum(sizes) / max(1, len(sizes)) + _RECORD_BYTES) * _MARGIN + len(shards) * 4 * 3 * SIDE**2
    there = sum(path.stat().st_size for path in prepared.data.iterdir())
    free = shutil.disk_usage(prepared.folder).free
    if total - there > free:
        raise InputError(
            f"{prepared.folder} needs about {format_bytes(total - there)} more, estimated from {len(sizes)} "
            f"photographs, but its disk has {format_bytes(free)} free: free disk space, or choose another --output or "
            "a smaller --resize"
        )
    done = f" ({count_finished(prepared)} of {len(shards)} files are complete)" if there else ""
    return f"about {format_bytes(total)} to write{done}, {format_bytes(free)} free"


def format_bytes(size: float) -> str:
    """Formats a number of bytes, such as "83.1 GB"."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def finish(
    prepared: Set, shards: Sequence[Shard], final: Path, *, wanted: Mapping[str, Any], words: Mapping[str, str]
) -> dict[str, Any]:
    """Writes metadata, statistics and manifest next to the shards and renames the folder. Returns the manifest.

    Args:
        prepared: the set, with all shards written.
        shards: all shards.
        final: the final folder of the set.
        wanted: its settings.
        words: words for the classes, by class name.

    Raises:
        InputError: a split has no readable photograph.
    """
    infos, measurements = load_infos(prepared, shards)
    by_split = {
        split: [info for info, shard in zip(infos, shards, strict=True) if shard.split == split]
        for split in prepared.splits
    }
    for split, of_split in by_split.items():
        if not any(info.records for info in of_split):
            raise InputError(f"none of the {len(prepared.splits[split])} photographs of {split} can be read")
    write_metadata(prepared, final.name, by_split)
    if measurements.squares.count:
        save_statistics(prepared.data / STATISTICS, measurements.finish(), remedy=RESUME)
    if words:
        with atomic_write(prepared.data / WORDS, remedy=RESUME) as temporary:
            lines = "".join(f"{words.get(name, name)}\n" for name in prepared.classes)
            temporary.write_text(lines, encoding="utf-8")
    manifest = {
        "name": prepared.name,
        "version": final.name,
        "settings": dict(wanted),
        "made_with": {package: _version(package) for package in _MAKERS},
        "splits": {split: _summary(of_split) for split, of_split in by_split.items()},
        "files": _list_files(prepared.data, infos),
    }
    write_json(prepared.data / MANIFEST, manifest, remedy=RESUME)
    os.sync()  # everything must be on disk before the folder gets its final name
    os.rename(prepared.data, final)
    shutil.rmtree(prepared.folder, ignore_errors=True)
    return manifest


def _summary(infos: Sequence[ShardInfo]) -> dict[str, Any]:
    """Summarizes a split for the manifest: photographs kept, re-encoded and left out."""
    changed: dict[str, list[str]] = {}
    unreadable: dict[str, str] = {}
    for info in infos:
        unreadable |= info.unreadable
        for reason, names in info.changed.items():
            changed.setdefault(reason, []).extend(names)
    reencoded = {name for names in changed.values() for name in names}
    num_records = sum(info.records for info in infos)
    return {
        "records": num_records,
        "as_published": num_records - len(reencoded),
        "reencoded": {
            reason: {"photographs": len(names), "first": names[:_LISTED]} for reason, names in sorted(changed.items())
        },
        "unreadable": unreadable,
    }


def _list_files(folder: Path, infos: Sequence[ShardInfo]) -> dict[str, dict[str, Any]]:
    """Returns size and checksum of every file in `folder`, and the number of records of shards."""
    files = {info.file: {"bytes": info.bytes, "sha256": info.sha256, "records": info.records} for info in infos}
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
