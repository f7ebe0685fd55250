"""Prepares a set of photographs: lists the input, writes the shards in worker processes, and shows the progress."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnet_alexnet.cli.interrupt import stoppable
from resnet_alexnet.cli.progress import progress_bar
from resnet_alexnet.data.prepare import preparation
from resnet_alexnet.data.prepare.archive import ArchivePhotos
from resnet_alexnet.data.prepare.imagenet import read_imagenet
from resnet_alexnet.data.prepare.options import Options
from resnet_alexnet.data.prepare.pool import run_tasks
from resnet_alexnet.data.prepare.shards import RESUME, Set, Shard, count_finished, create_shards, write_shard
from resnet_alexnet.data.readers.image_folder import FolderPhotos, read_image_folder
from resnet_alexnet.data.selection import report_lacking
from resnet_alexnet.errors import InputError

_LINE_SECONDS = 10.0  # between two progress lines, without a terminal


def prepare(options: Options) -> None:
    """Prepares a set, or resumes an interrupted preparation.

    Raises:
        InputError: the input is bad, the disk is too small, or a set with other settings exists.
        InterruptedRunError: Ctrl-C or SIGTERM.
    """
    splits, words = read_input(options)
    names = {split: photo_names(photos) for split, photos in splits.items()}
    sizes = {split: np.array([photos.size(index) for index in range(len(photos))]) for split, photos in splits.items()}
    wanted = preparation.settings(options.recoding, options.photos_per_shard, splits, names, sizes)
    final = options.output / options.name / options.version
    folder = final.with_name(f"{final.name}.incomplete")
    if preparation.is_prepared(final, wanted):
        shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed at the very end
        print(f"{final} is already prepared with these settings")
        return
    prepared = Set(folder, options.name, splits, options.recoding, options.skip_unreadable)
    shards = [
        shard
        for split in splits
        for shard in create_shards(split, names[split], sizes[split], photos_per_shard=options.photos_per_shard)
    ]
    try:
        with preparation.opened(folder, wanted):
            print(preparation.check_room(prepared, shards), flush=True)
            write_shards(prepared, shards, workers=options.workers)
            manifest = preparation.finish(prepared, shards, final, wanted=wanted, words=words)
    except BrokenPipeError:  # from standard output, not from the disk
        raise
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}): {RESUME}") from None
    print("\n".join(_result(final, manifest)))


def read_input(options: Options) -> tuple[Mapping[str, ArchivePhotos | FolderPhotos], dict[str, str]]:
    """Lists the photographs of each split, and words for the classes if there are any.

    Raises:
        InputError: see `read_image_folder` and `read_imagenet`; or a class name is not allowed.
    """
    if options.images:
        splits, words = read_image_folder(options.images), {}
        for name in next(iter(splits.values())).classes:
            if name.strip().splitlines() != [name]:
                raise InputError(
                    f"{options.images} has a class folder {name!r}: class names must be one line without spaces "
                    "around it; rename the folder in every split"
                )
    else:
        print("listing the archives, about a minute for all of ImageNet", flush=True)
        splits, words = read_imagenet(
            train=options.train,
            validation=options.val,
            devkit=options.devkit,
            allow_incomplete=options.allow_incomplete,
        )
    for split, photos in splits.items():
        print(f"{split}: {len(photos):,} photographs of {len(photos.classes):,} classes", flush=True)
    report_lacking(splits, print)
    return splits, words


def photo_names(photos: ArchivePhotos | FolderPhotos) -> list[str]:
    """Returns the name of each photograph in its split: ImageNet's file name, or CLASS/FILE."""
    return [photos.name(index) for index in range(len(photos))]


def write_shards(prepared: Set, shards: Sequence[Shard], *, workers: int) -> None:
    """Writes the shards in worker processes and shows the progress.

    Raises:
        InputError: see `write_shard`.
        InterruptedRunError: Ctrl-C or SIGTERM. All worker processes are ended.
    """
    total = sum(len(shard.indices) for shard in shards)
    with (
        stoppable(lambda: f"stopped: {count_finished(prepared)} of {len(shards)} files are complete"),
        contextlib.closing(run_tasks(write_shard, prepared, shards, workers=workers)) as counts,
    ):
        for _ in progress_bar(counts, total, "photographs", size=int, line_seconds=_LINE_SECONDS):
            pass


def _result(final: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """Yields the lines that summarize a finished set."""
    for split, summary in manifest["splits"].items():
        counts = [f"{reason} {kind['photographs']:,}" for reason, kind in summary["reencoded"].items()]
        counts += [f"left out as unreadable {len(summary['unreadable']):,}"] * bool(summary["unreadable"])
        yield f"{split}: {summary['records']:,} photographs, {summary['as_published']:,} unchanged" + (
            f"; {', '.join(counts)}" if counts else ""
        )
    size = sum(file["bytes"] for file in manifest["files"].values())
    yield f"{final} is complete: {len(manifest['files'])} files, {preparation.format_bytes(size)}"
