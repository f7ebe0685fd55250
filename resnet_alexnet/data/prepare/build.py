"""Prepares a set of photographs: reads the input, writes the shards in processes, and shows how far it is."""

import contextlib
import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
from rich import progress
from rich.console import Console

from resnet_alexnet.data.prepare import preparation
from resnet_alexnet.data.prepare.archive import ArchivePhotos
from resnet_alexnet.data.prepare.imagenet import read_imagenet
from resnet_alexnet.data.prepare.options import Options
from resnet_alexnet.data.prepare.pool import run_tasks
from resnet_alexnet.data.prepare.shards import GO_ON, Set, Shard, count_records, create_shards, write_shard
from resnet_alexnet.data.readers.image_folder import FolderPhotos, read_image_folder
from resnet_alexnet.errors import InputError, InterruptedRunError

_EXIT_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}
_LINE_SECONDS = 10.0  # between two lines where there is no terminal


def prepare(options: Options) -> None:
    """Prepares a set, or goes on with it.

    Raises:
        InputError: bad input, no room, or a set that was prepared otherwise in the way.
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
        print(f"{final} is prepared already, as asked")
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
    except BrokenPipeError:  # of standard output, not of the disk
        raise
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}): {GO_ON}") from None
    print("\n".join(_result(final, manifest)))


def read_input(options: Options) -> tuple[Mapping[str, ArchivePhotos | FolderPhotos], dict[str, str]]:
    """The photographs of each split, and words for the classes where there are any.

    Raises:
        InputError: what `read_image_folder` and `read_imagenet` find; or a class's name that a set cannot have.
    """
    if options.images:
        splits, words = read_image_folder(options.images), {}
        for name in next(iter(splits.values())).classes:
            if name.strip().splitlines() != [name]:
                raise InputError(
                    f"{options.images} has a class folder {name!r}: the set's file of class names has one a line, "
                    "without blanks around it; rename the folder in every split"
                )
    else:
        print("reading what the archives hold, a minute for all of ImageNet", flush=True)
        splits, words = read_imagenet(
            train=options.train,
            validation=options.val,
            devkit=options.devkit,
            allow_incomplete=options.allow_incomplete,
        )
    for split, photos in splits.items():
        print(f"{split}: {len(photos):,} photographs of {len(photos.classes):,} classes", flush=True)
    return splits, words


def photo_names(photos: ArchivePhotos | FolderPhotos) -> list[str]:
    """The name of each photograph in its split: ImageNet's file name, or CLASS/FILE."""
    if isinstance(photos, ArchivePhotos):
        return [photos.name(index) for index in range(len(photos))]
    start = len(str(photos.folder)) + 1
    return [photos.where(index)[start:] for index in range(len(photos))]


def write_shards(prepared: Set, shards: Sequence[Shard], *, workers: int) -> None:
    """Writes the shards in processes and shows how far they are.

    Raises:
        InputError: see `write_shard`.
        InterruptedRunError: Ctrl-C or SIGTERM. No process is left.
    """
    total = sum(len(shard.indices) for shard in shards)
    with (
        stoppable(lambda: f"stopped: {count_records(prepared)} of {len(shards)} files are complete"),
        contextlib.closing(run_tasks(write_shard, prepared, shards, workers=workers)) as counts,
        _bar(total) if _is_live() else _lines(total) as advance,
    ):
        for count in counts:
            advance(count)


@contextlib.contextmanager
def stoppable(state: Callable[[], str]) -> Iterator[None]:
    """Makes SIGTERM and Ctrl-C an InterruptedRunError that tells the state and how to go on."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt(number)  # which nothing takes for an error of its own, such as a damaged file

    previous = {number: signal.signal(number, stop) for number in _EXIT_CODES}
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise InterruptedRunError(
            f"{state()}; run the same command again to go on", _EXIT_CODES[interrupt.args[0]]
        ) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _is_live() -> bool:
    return sys.stdout.isatty() and not Console(file=sys.stdout).is_dumb_terminal


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A live bar; gives the function that counts photographs."""
    columns = (
        progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f} photographs"),
        progress.BarColumn(bar_width=None),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(file=sys.stdout), expand=True) as bar:
        task = bar.add_task("", total=total, rate="")

        def advance(count: int) -> None:
            bar.update(task, advance=count, rate=f"{bar.tasks[0].speed or 0:,.0f}/s")

        yield advance


@contextlib.contextmanager
def _lines(total: int) -> Iterator[Callable[[int], None]]:
    """A plain line every few seconds; gives the function that counts photographs."""
    done, counted, last = 0, 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, counted, last
        done += count
        seconds = time.monotonic() - last
        if seconds > _LINE_SECONDS:
            rate = (done - counted) / seconds
            left = (total - done) / rate / 60 if rate else 0
            print(f"{done:,} of {total:,} photographs  {rate:,.0f}/s  {math.ceil(left):,} min left", flush=True)
            counted, last = done, time.monotonic()

    yield advance


def _result(final: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """What a person wants to know of a finished set, line by line."""
    for split, summary in manifest["splits"].items():
        counts = [f"{reason} {kind['photographs']:,}" for reason, kind in summary["encoded_anew"].items()]
        counts += [f"left out as unreadable {len(summary['unreadable']):,}"] * bool(summary["unreadable"])
        yield f"{split}: {summary['records']:,} photographs, {summary['as_published']:,} as they were" + (
            f"; {', '.join(counts)}" if counts else ""
        )
    size = sum(file["bytes"] for file in manifest["files"].values())
    yield f"{final} is complete: {len(manifest['files'])} files, {preparation.format_bytes(size)}"
