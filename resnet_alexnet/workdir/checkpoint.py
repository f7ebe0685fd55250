"""Checkpoints, written by Orbax: the state, its metadata, and a digest that detects damage."""

import contextlib
import functools
import itertools
import logging
import sys
import textwrap
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy
from orbax.checkpoint.options import MultiprocessingOptions

from resnet_alexnet.errors import InputError, TrainingError, remedy
from resnet_alexnet.models.stacked import unstack
from resnet_alexnet.paths import Tree
from resnet_alexnet.workdir.leaves import Leaves, digest, from_leaves, to_leaves

SET_ASIDE = "checkpoints_set_aside"
_NONE = -1  # in place of a step: there is no checkpoint


class DamagedCheckpointError(TrainingError):
    """A checkpoint cannot be read, or its contents do not match its digest."""


@dataclass(frozen=True)
class Restored:
    """A restored checkpoint.

    Attributes:
        state: the state, on the host.
        metadata: the metadata of the checkpoint.
        warnings: messages about damaged checkpoints that were skipped.
    """

    state: Tree
    metadata: dict[str, Any]
    warnings: tuple[str, ...]


def read(
    directory: Path, which: int | str = "last", *, errors: Mapping[int, float] | None = None
) -> tuple[int, Leaves, dict[str, Any], tuple[str, ...]]:
    """Reads a checkpoint, without changing the folder.

    Args:
        directory: the folder of checkpoints.
        which: a step; "last", the newest that is not damaged; or "best", the one with the lowest validation error.
        errors: the validation errors by step, for "best".

    Returns:
        Its step, leaves and metadata, and warnings about damaged checkpoints that were skipped.

    Raises:
        InputError: the folder has no checkpoint, or not the requested one.
        DamagedCheckpointError: the requested checkpoint is damaged; for "last" and "best", all are.
    """
    _quiet()
    if not any(directory.glob("*")):  # Orbax would create the folder
        raise InputError(f"{directory} has no checkpoint")
    with _reader(directory) as manager:
        steps, warnings = sorted(manager.all_steps(), reverse=True), []
        if which == "best":
            errors = errors or {}
            candidates = sorted(errors.keys() & set(steps), key=lambda step: (errors[step], step))
        else:
            candidates = steps if which == "last" else [step for step in steps if step == which]
        if not candidates:
            there = ", ".join(map(str, reversed(steps)))
            raise InputError(f"{directory} has no checkpoint {which} (there are: {there or 'none'})")
        for step in candidates:
            try:
                items = _read(manager, step, state=ocp.args.StandardRestore(), metadata=ocp.args.JsonRestore())
                return step, *_verified(items), tuple(warnings)
            except DamagedCheckpointError as damage:
                warnings.append(f"checkpoint {step} in {directory} is damaged: {damage}")
        raise DamagedCheckpointError("; ".join(warnings))


def read_metadata(directory: Path) -> dict[str, Any]:
    """The metadata of the newest checkpoint, not verified; empty if there is none or it cannot be read."""
    _quiet()
    if not any(directory.glob("*")):
        return {}
    with _reader(directory) as manager:
        step = manager.latest_step()
        with contextlib.suppress(DamagedCheckpointError):
            return {} if step is None else _read(manager, step, metadata=ocp.args.JsonRestore())["metadata"]
    return {}


def _verified(items: Mapping[str, Any]) -> tuple[Leaves, dict[str, Any]]:
    """Checks the digest of a checkpoint and returns its leaves and metadata.

    Raises:
        DamagedCheckpointError: the contents do not match the digest.
    """
    leaves = {name: np.asarray(leaf) for name, leaf in items["state"].items()}
    metadata = dict(items["metadata"])
    if metadata.pop("digest", None) != digest(leaves, metadata):
        raise DamagedCheckpointError("its contents do not match its digest")
    return leaves, metadata


def _read(manager: ocp.CheckpointManager, step: int, **items: ocp.args.CheckpointArgs) -> Mapping[str, Any]:
    """Reads the given items of a checkpoint with Orbax."""
    try:
        return manager.restore(step, args=ocp.args.Composite(**items))
    except Exception as error:  # Orbax and TensorStore raise errors of many unrelated types for damaged files
        reason = textwrap.shorten(str(error) or type(error).__name__, 200)
        raise DamagedCheckpointError(reason) from error


def _reader(directory: Path) -> ocp.CheckpointManager:
    """Orbax's manager for reading a folder of checkpoints. Each process reads by itself and waits for no other."""
    own = jax.process_index()
    processes = MultiprocessingOptions(primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"reader{own}")
    options = ocp.CheckpointManagerOptions(read_only=True, create=False, multiprocessing_options=processes)
    return ocp.CheckpointManager(directory.absolute(), options=options)


def _quiet() -> None:
    """Silences the log lines of Orbax and asyncio on saves, restores and damaged files; errors are raised as well.

    For a damaged checkpoint Orbax raises the first error, and asyncio logs the errors of the remaining arrays.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not isinstance(sys.unraisablehook, _WithoutLateWrites):
        sys.unraisablehook = _WithoutLateWrites(sys.unraisablehook)


@dataclass(frozen=True)
class _WithoutLateWrites:
    """A `sys.unraisablehook` without the errors of TensorStore's threads after a save has failed.

    They finish the other writes of the save when Orbax has closed its event loop. The failure itself is raised.
    """

    hook: Callable[[Any], object]

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self.hook(unraisable)


def _move(checkpoint: Path, folder: Path) -> Path:
    """Moves a checkpoint to a folder, under a name that is new there; returns its new path."""
    folder.mkdir(exist_ok=True)
    names = itertools.chain([checkpoint.name], (f"{checkpoint.name}.{attempt}" for attempt in itertools.count(1)))
    return checkpoint.rename(next(folder / name for name in names if not (folder / name).exists()))


@dataclass
class _LatestAndBest(preservation_policy.PreservationPolicy):
    """Keeps the last `keep` checkpoints and the first one with the lowest error.

    Orbax's own BestN does not know the errors from earlier processes, and would keep those checkpoints forever.
    """

    keep: int
    errors: dict[int, float]  # by step, percent

    def should_preserve(
        self,
        checkpoints: Sequence[preservation_policy.PolicyCheckpointInfo],
        *,
        context: preservation_policy.PreservationContext,
    ) -> Sequence[bool]:
        steps = [info.step for info in checkpoints]
        evaluated = [step for step in steps if step in self.errors]
        kept = {*steps[-self.keep :], *sorted(evaluated, key=self.errors.__getitem__)[:1]}
        return [step in kept for step in steps]


class Checkpointer:
    """Saves and restores the checkpoints in `directory`; a context manager that waits for pending saves.

    Saves are asynchronous and atomic. The last `keep` checkpoints and the one with the lowest error are kept.
    Of several processes, each calls the same methods: Orbax lets one of them write, once all are there.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: int,
        errors: Mapping[int, float] | None = None,
        lowest: Callable[[int], int] = lambda step: step,
    ):
        """Opens the folder, which need not exist.

        Args:
            directory: the folder of checkpoints.
            keep: how many of the last checkpoints are kept.
            errors: the validation errors of earlier steps; see `note_error`.
            lowest: the lowest of the numbers with which the processes of the run call it; it waits for all of them.
        """
        _quiet()
        self._directory = directory
        self._errors = dict(errors or {})
        self._lowest = lowest
        self._failed: TrainingError | None = None
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_LatestAndBest(keep, self._errors),
            cleanup_tmp_directories=True,  # incomplete checkpoints of a killed process
            # At once: of several processes, the others would wait five minutes for a folder that cannot be created.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def note_error(self, step: int, error: float) -> None:
        """Notes val/top1_error of a step, in percent: the checkpoint with the lowest is kept."""
        self._errors[step] = error

    def save(self, step: int, state: Tree, metadata: dict[str, Any]) -> None:
        """Saves the state of a step in the background; does nothing if the step is already saved.

        Args:
            step: steps done.
            state: any pytree. It is copied to the host before this returns, so it may be donated afterwards.
            metadata: JSON values to store with it (config, preprocessing).

        Raises:
            TrainingError: this checkpoint or an earlier one could not be written.
        """
        if self._failed is not None:  # Orbax takes that step for saved, and would skip others in silence
            raise self._failed
        if step in self._manager.all_steps():
            return
        leaves = to_leaves(state)
        with self._saving():
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(leaves),
                    metadata=ocp.args.JsonSave({**metadata, "digest": digest(leaves, metadata)}),
                ),
                force=True,
            )
        if not saved:
            raise RuntimeError(f"the checkpoint of step {step} in {self._directory} was not saved")

    def restore(self, like: Callable[[], Tree]) -> Restored | None:
        """Restores the newest checkpoint that is not damaged; None if there is no checkpoint.

        Newer, damaged checkpoints are moved to a folder next to this one.

        Args:
            like: returns a state with the expected structure, shapes and dtypes; called if there is a checkpoint.

        Raises:
            DamagedCheckpointError: all checkpoints are damaged. None has been moved.
        """
        damaged: dict[int, DamagedCheckpointError] = {}
        state = functools.cache(like)  # for a new run it would take time for nothing
        with _reader(self._directory) as manager:
            newest, found = _NONE, None
            for step in sorted(manager.all_steps(), reverse=True):
                try:
                    newest, found = step, self._restore_step(manager, step, state())
                    break
                except DamagedCheckpointError as error:
                    damaged[step] = error
            agreed = self._lowest(newest)
            if agreed != newest and agreed != _NONE:  # another process cannot read the newer ones
                found = self._restore_step(manager, agreed, state())
            for step in manager.all_steps():
                if step > agreed and step not in damaged:
                    damaged[step] = DamagedCheckpointError("another process cannot read it")
        if agreed != _NONE and found is not None:
            return Restored(*found, tuple(self._set_aside(damaged)))
        if damaged:
            reasons = "; ".join(f"{step}: {error}" for step, error in damaged.items())
            raise DamagedCheckpointError(
                f"all checkpoints in {self._directory} are damaged ({reasons}); none was moved: restore one from a "
                "backup, or start a new run in another folder"
            )
        return None

    def _restore_step(self, manager: ocp.CheckpointManager, step: int, like: Tree) -> tuple[Tree, dict[str, Any]]:
        expected = unstack(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like))
        restored = _read(manager, step, state=ocp.args.StandardRestore(expected), metadata=ocp.args.JsonRestore())
        leaves, metadata = _verified(restored)
        for name, leaf in leaves.items():  # Orbax does not check shapes
            if leaf.shape != expected[name].shape:
                raise DamagedCheckpointError(f"{name} has shape {leaf.shape}, expected {expected[name].shape}")
        return from_leaves(leaves, like), metadata

    def _set_aside(self, damaged: Mapping[int, DamagedCheckpointError]) -> list[str]:
        """Moves damaged checkpoints to a folder next to this one, on one of the processes; a warning about each."""
        folder, warnings = self._directory.parent / SET_ASIDE, []
        for step, error in damaged.items():
            target = _move(self._directory / str(step), folder) if jax.process_index() == 0 else folder
            warnings.append(f"warning: checkpoint {step} is damaged and was moved to {target}: {error}")
            self._errors.pop(step, None)
        self._wait_for_all()
        if damaged:
            self._manager.reload()
        return warnings

    def _wait_for_all(self) -> None:
        """Waits until all processes of the run are here."""
        self._lowest(0)

    def wait(self) -> None:
        """Waits until all saves are on disk.

        Raises:
            TrainingError: a checkpoint could not be written.
        """
        with self._saving():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _saving(self) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise many unrelated types, also for a full disk
            reason = textwrap.shorten(str(error) or type(error).__name__, 200)
            cure = remedy(error)
            if jax.process_count() > 1 and not isinstance(error, OSError):  # all fail if one does
                cure += "; if another process has an error too, see that first"
            self._failed = TrainingError(f"cannot write a checkpoint to {self._directory} ({reason}): {cure}")
            raise self._failed from error

    def close(self) -> None:
        """Waits for pending saves, then ends Orbax's threads."""
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # closing raises the error of a failed save again
                self._manager.close()

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
