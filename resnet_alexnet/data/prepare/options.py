"""What a set is prepared from, and how."""

import re
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from resnet_alexnet.data.loading.workers import count_cores
from resnet_alexnet.data.prepare.recode import SIDE, Recoding
from resnet_alexnet.data.readers import OWN_NAMES, PUBLISHED
from resnet_alexnet.errors import InputError


@dataclass(frozen=True)
class Options:
    """The flags of the command, checked."""

    train: str
    val: str
    devkit: str
    images: str
    output: Path
    name: str
    version: str
    recoding: Recoding
    workers: int
    photos_per_shard: int
    allow_incomplete: bool
    skip_unreadable: bool


def check_options(given: Namespace) -> Options:
    """The options that the flags ask for.

    Raises:
        InputError: flags that do not go together, or a name that no set can have.
    """
    archives = bool(given.train or given.val or given.devkit)
    if archives == bool(given.images):
        raise InputError("give ImageNet's archives (--train, --val, --devkit) or --images=FOLDER, one of the two")
    if given.encoding == "raw" and (given.resize or given.quality):
        raise InputError(
            f"--encoding=raw is always {SIDE} x {SIDE} pixels without loss: leave out --resize and --quality"
        )
    return Options(
        train=given.train,
        val=given.val,
        devkit=given.devkit,
        images=given.images,
        output=given.output,
        name=_check_set_name(given.name, given.images),
        version="5.1.0" if archives else "1.0.0",
        recoding=Recoding(given.encoding, given.resize or 0, given.quality or 95, given.max_pixels),
        workers=given.workers or count_cores(),
        photos_per_shard=given.photos_per_shard,
        allow_incomplete=given.allow_incomplete,
        skip_unreadable=given.skip_unreadable,
    )


def _check_set_name(name: str, images: str) -> str:
    """The set's name: --name, or one made of the folder's where photographs are from a folder."""
    if name or not images:
        name = name or "imagenet2012"
        origin, remedy = f"--name={name}", ""
    else:
        name = re.sub(r"\W+", "_", Path(images).resolve().name).lower()
        origin, remedy = f"the set would be called {name!r}, after --images", "; give another by --name"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"{origin}: allowed are small letters, digits and _, a letter first{remedy}")
    if name in OWN_NAMES and name not in PUBLISHED:
        raise InputError(f"{origin}: no run could open it, because dataset.name={name} is something else{remedy}")
    return name
