"""The run folder: config.json, environment.json, and whether a run can start or resume in it."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json, temporary_path, write_json
from resnet_alexnet.workdir import lock
from resnet_alexnet.workdir.config import CONFIG_FILE, LOG_FILE, flatten, read_config, to_json
from resnet_alexnet.workdir.version import git_commit

ENVIRONMENT_FILE = "environment.json"
# The fields that may change when a run resumes: they do not change what a step computes.
MAY_CHANGE = (
    *("num_steps", "steps_per_call", "accumulate_steps", "mesh.", "log.", "eval.", "checkpoint.", "guard.", "hosts."),
    *("dataset.data_dir", "dataset.on_device", "dataset.in_memory", "dataset.workers", "dataset.max_unreadable"),
    *("dataset.max_pixels", "model.scan", "model.remat"),
)
# Left by a run that was killed at its start, or by the sweep that is about to start it.
BEFORE_A_RUN = (*lock.NAMES, LOG_FILE, temporary_path(Path(CONFIG_FILE)).name)
_PACKAGES = ("resnet_alexnet", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "ml_collections")


def check_workdir(workdir: Path, config: ConfigDict) -> bool:
    """Whether a run resumes in `workdir`; False for a new run in a new or empty folder.

    Raises:
        InputError: the path of `workdir` is not text or has a bracket, or it is not a folder, contains something other
            than a run, or a run that is past num_steps or whose config differs in a field that may not change.
    """
    try:
        str(workdir.absolute()).encode()
    except UnicodeEncodeError:  # bytes that Python could not decode by the locale, and that Orbax cannot write to
        raise InputError(
            f"--workdir={workdir.absolute()} is no text in {sys.getfilesystemencoding()}, the encoding of file names "
            "here (use another --workdir, or a UTF-8 locale, such as LC_ALL=C.UTF-8)"
        ) from None
    if "[" in str(workdir.absolute()):  # Orbax writes checkpoints there, and cannot read them again
        raise InputError(f"--workdir={workdir.absolute()} has a bracket in its path: use another one")
    try:
        names = {path.name for path in workdir.iterdir()} if workdir.exists() else set()
    except OSError as error:
        raise InputError(f"--workdir={workdir} cannot be used as a folder: {error.strerror}") from None
    if names <= set(BEFORE_A_RUN):
        return False
    file = workdir / CONFIG_FILE
    if not file.is_file():
        raise InputError(f"--workdir={workdir} is neither a run folder nor empty (allowed: either, or a new folder)")
    given, saved = flatten(to_json(config)), flatten(read_config(file))
    differing = [
        f"{name} is {given.get(name)!r}, was {saved.get(name)!r}"
        for name in sorted(saved.keys() | given.keys())
        if saved.get(name) != given.get(name) and not name.startswith(MAY_CHANGE)
    ]
    if differing:
        raise InputError(f"--workdir={workdir} has a run with another config: {'; '.join(differing)}")
    done = last_checkpoint(workdir)
    if done > config.num_steps:
        raise InputError(
            f"num_steps={config.num_steps}, but the run in --workdir={workdir} has done {done} (allowed: at least that)"
        )
    return True


def last_checkpoint(workdir: Path) -> int:
    """The step of the last checkpoint in a run folder, by its name; 0 if there is none."""
    return max(saved_steps(workdir), default=0)


def saved_steps(workdir: Path) -> list[int]:
    """The steps of the checkpoints in a run folder, by their names, in order."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit())


def create_workdir(workdir: Path, config: ConfigDict) -> None:
    """Creates the folder and writes config.json and environment.json, each atomically.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(workdir / CONFIG_FILE, to_json(config))
        _write_environment(workdir / ENVIRONMENT_FILE)
    except OSError as error:
        raise InputError(f"--workdir={workdir} cannot be written: {error.strerror}") from None


def _write_environment(file: Path) -> None:
    """Writes the environment of a run. If it changes, the first stays and later ones are added to "resumed_on"."""
    now = environment()
    if file.exists():
        first = read_json(file)
        later = first.pop("resumed_on", [])
        if now in (first, *later):
            return
        now = {**first, "resumed_on": [*later, now]}
    write_json(file, now)


def environment() -> dict[str, Any]:
    """The environment of a run: versions, git commit (if in a checkout), devices."""
    import jax  # here, because it takes a second to import, and commands that only read a run folder do not need it

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "git_commit": git_commit(),
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "cpu_count": os.cpu_count(),
    }
