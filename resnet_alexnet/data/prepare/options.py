"""The command line of prepare, as USAGE explains it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resnet_alexnet.data.loading.workers import count_cores
from resnet_alexnet.data.prepare.recode import ENCODINGS, SIDE, Recoding
from resnet_alexnet.data.readers import OWN_NAMES, PUBLISHED
from resnet_alexnet.errors import InputError, check_name

SWITCHES = ("--allow_incomplete", "--skip_unreadable")
FLAGS = (
    *("train", "val", "devkit", "images", "output", "name", "resize", "quality", "encoding", "workers"),
    *("photos_per_shard", "allow_incomplete", "skip_unreadable"),
)


@dataclass(frozen=True)
class Options:
    """The command line: see USAGE."""

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


def parse_options(given: Mapping[str, str]) -> Options:
    """The options that the flags ask for; a flag that is not given is empty.

    Raises:
        InputError: something is missing, or a value is not allowed.
    """
    archives = bool(given["train"] or given["val"] or given["devkit"])
    if archives == bool(given["images"]):
        raise InputError("give ImageNet's archives (--train, --val, --devkit) or --images=FOLDER, one of the two")
    if not given["output"]:
        raise InputError("--output is missing: the folder to put the set in, such as --output=data")
    encoding = given["encoding"] or "jpeg"
    check_name("--encoding", encoding, ENCODINGS)
    if encoding == "raw" and (given["resize"] or given["quality"]):
        raise InputError(
            f"--encoding=raw is always {SIDE} x {SIDE} pixels without loss: leave out --resize and --quality"
        )
    return Options(
        train=given["train"],
        val=given["val"],
        devkit=given["devkit"],
        images=given["images"],
        output=Path(given["output"]),
        name=_parse_name(given),
        version="5.1.0" if archives else "1.0.0",
        recoding=Recoding(encoding, _number(given, "resize", 0, 0), _number(given, "quality", 95, 1, 100)),
        workers=_number(given, "workers", count_cores(), 1),
        photos_per_shard=_number(given, "photos_per_shard", 1252, 1, 1_000_000),
        allow_incomplete=_switch(given, "allow_incomplete"),
        skip_unreadable=_switch(given, "skip_unreadable"),
    )


def _parse_name(given: Mapping[str, str]) -> str:
    """The set's name: --name, or one made of the folder's where photographs are from a folder."""
    if given["name"] or not given["images"]:
        name = given["name"] or "imagenet2012"
        origin, remedy = f"--name={name}", ""
    else:
        name = re.sub(r"\W+", "_", Path(given["images"]).resolve().name).lower()
        origin, remedy = f"the set would be called {name!r}, after --images", "; give another by --name"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"{origin}: allowed are small letters, digits and _, a letter first{remedy}")
    if name in OWN_NAMES and name not in PUBLISHED:
        raise InputError(f"{origin}: no run could open it, because dataset.name={name} is something else{remedy}")
    return name


def _number(given: Mapping[str, str], flag: str, default: int, least: int, most: int | None = None) -> int:
    text = given[flag] or str(default)
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        raise InputError(f"--{flag}={text}: needed is a whole number from {least}" + (f" to {most}" if most else " up"))
    return int(text)


def _switch(given: Mapping[str, str], flag: str) -> bool:
    check_name(f"--{flag}", given[flag] or "false", ("true", "false"))
    return given[flag] == "true"
