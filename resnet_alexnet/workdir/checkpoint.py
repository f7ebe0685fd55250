"""Checkpoints by Orbax: the state, what it was trained with, and a digest that tells whether it came back whole."""

import contextlib
import hashlib
import json
import logging
import textwrap
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.paths import Tree, leaf_name

SET_ASIDE = "checkpoints_set_aside"
Leaves = dict[str, np.ndarray]


class DamagedCheckpointError(TrainingError):
    """A checkpoint that cannot be read, or is not what was saved."""


@dataclass(frozen=True)
class Restored:
    """What was restored: the state (on the host), the metadata saved beside it, and warnings about damaged ones."""

    state: Tree
    metadata: dict[str, Any]
    warnings: tuple[str, ...]


def to_leaves(state: Tree) -> Leaves:
    """The state as a flat dict of host copies by path: the form in which it is stored."""
    return {leaf_name(path): np.array(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def from_leaves(leaves: Leaves, like: Tree) -> Tree:
    """The state whose leaves these are, structured as `like`."""
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves[leaf_name(path)], like)


def digest(leaves: Leaves, metadata: Mapping[str, Any]) -> str:
    """A hash of every leaf's name, type, shape and bits, and of the metadata as JSON."""
    hasher = hashlib.blake2b(json.dumps(metadata, sort_keys=True).encode(), digest_size=16)
    for name in sorted(leaves):
        leaf = leaves[name]
        hasher.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        hasher.update(np.ascontiguousarray(leaf).view(np.uint8).data)  # bytes: bfloat16 has no buffer of its own
    return hasher.hexdigest()


def read(directory: Path, which: int | str = "last") -> tuple[int, Leaves, dict[str, Any], tuple[str, ...]]:
    """Step, leaves and metadata of a checkpoint in `directory`, and warnings about damaged ones. Changes nothing.

    Args:
        directory: of checkpoints.
        which: a step; "last", the newest that is whole; or "best", the one with the lowest validation error.

    Raises:
        InputError: there is none, or not the one that is asked for.
        DamagedCheckpointError: it, or for "last" every one, is damaged.
    """
    _quiet()
    if not any(directory.glob("*")):  # which Orbax would make
        raise InputError(f"{directory} holds no checkpoint")
    with ocp.CheckpointManager(directory.absolute(), options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
        steps, warnings = sorted(manager.all_steps(), reverse=True), []
        if which == "best":
            errors = {}
            for step in steps:
                try:
                    error = _read(manager, step, metadata=ocp.args.JsonRestore())["metadata"]["top1_error"]
                except DamagedCheckpointError as damage:  # as for "last", what is damaged does not count
                    warnings.append(f"checkpoint {step} in {directory} is damaged: {damage}")
                    continue
                errors |= {} if error is None else {step: error}
            wanted = sorted(errors, key=lambda step: (errors[step], step))[:1]
        else:
            wanted = steps if which == "last" else [step for step in steps if step == which]
        if not wanted:
            there = ", ".join(map(str, reversed(steps)))
            raise InputError(f"{directory} holds no checkpoint {which} (there are: {there or 'none'})")
        for step in wanted:
            try:
                items = _read(manager, step, state=ocp.args.StandardRestore(), metadata=ocp.args.JsonRestore())
                return step, *_verified(items), tuple(warnings)
            except DamagedCheckpointError as damage:
                warnings.append(f"checkpoint {step} in {directory} is damaged: {damage}")
        raise DamagedCheckpointError("; ".join(warnings))


def _verified(items: Mapping[str, Any]) -> tuple[Leaves, dict[str, Any]]:
    """Leaves and metadata of a checkpoint that is what was saved.

    Raises:
        DamagedCheckpointError: it is not.
    """
    leaves = {name: np.asarray(leaf) for name, leaf in items["state"].items()}
    metadata = dict(items["metadata"])
    if metadata.pop("digest", None) != digest(leaves, metadata):
        raise DamagedCheckpointError("its contents are not those that were saved")
    return leaves, metadata


def _read(manager: ocp.CheckpointManager, step: int, **items: ocp.args.CheckpointArgs) -> Mapping[str, Any]:
    """The named items of a checkpoint, as Orbax reads them."""
    try:
        return manager.restore(step, args=ocp.args.Composite(**items))
    except Exception as error:  # Orbax and TensorStore raise errors of many unrelated types for damaged files
        reason = textwrap.shorten(str(error) or type(error).__name__, 200)
        raise DamagedCheckpointError(reason) from error


def _quiet() -> None:
    """Keeps what Orbax and asyncio report of each save, restore and damaged file off the terminal; it is raised too.

    Of a damaged checkpoint Orbax raises the first error, and leaves those of the other arrays to asyncio's log.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@dataclass
class _LatestAndBest(preservation_policy.PreservationPolicy):
    """Keeps the last `keep` checkpoints and the first of those with the lowest error.

    Orbax's own BestN forgets the errors of earlier processes, and keeps what it forgot for good.
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
    """Saves and restores the checkpoints in `directory`; a context manager that waits for saves under way.

    Saves are asynchronous and atomic; the last `keep` and the one with the lowest error stay.
    """

    def __init__(self, directory: Path, *, keep: int):
        _quiet()
        self._directory = directory
        self._errors: dict[int, float] = {}
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_LatestAndBest(keep, self._errors),
            cleanup_tmp_directories=True,  # what a killed process was writing
        )
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)
        for step in self._manager.all_steps():
            with contextlib.suppress(DamagedCheckpointError):  # it is reported where it is needed, by `restore`
                self._note_error(step, _read(self._manager, step, metadata=ocp.args.JsonRestore())["metadata"])

    def save(self, step: int, state: Tree, metadata: dict[str, Any], *, error: float | None) -> None:
        """Saves the state of a step in the background; nothing happens if that step is saved already.

        Args:
            step: steps done.
            state: any pytree; copied to the host before this returns, so it may be donated afterwards.
            metadata: JSON values that belong to it (configuration, preprocessing).
            error: val/top1_error at this very step in percent, None if it was not evaluated here.
        """
        leaves = to_leaves(state)
        if step in self._manager.all_steps():
            return
        metadata = {**metadata, "top1_error": error}
        self._note_error(step, metadata)
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

    def restore(self, like: Tree) -> Restored | None:
        """The newest checkpoint that is whole, None where there is none at all.

        Damaged ones on the way are moved out of the folder, beside it.

        Args:
            like: a state with the structure, shapes and dtypes that are expected.

        Raises:
            DamagedCheckpointError: all are damaged; then none is moved.
        """
        damaged: dict[int, DamagedCheckpointError] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state, metadata = self._restore_step(step, like)
            except DamagedCheckpointError as error:
                damaged[step] = error
                continue
            return Restored(state, metadata, tuple(self._set_aside(*bad) for bad in damaged.items()))
        if damaged:
            reasons = "; ".join(f"{step}: {error}" for step, error in damaged.items())
            raise DamagedCheckpointError(
                f"every checkpoint in {self._directory} is damaged ({reasons}); none was moved: bring one back from a "
                "copy, or start again in another folder"
            )
        return None

    def _restore_step(self, step: int, like: Tree) -> tuple[Tree, dict[str, Any]]:
        expected = {
            leaf_name(path): np.zeros(leaf.shape, leaf.dtype)
            for path, leaf in jax.tree_util.tree_leaves_with_path(like)
        }
        restored = _read(self._manager, step, state=ocp.args.StandardRestore(expected), metadata=ocp.args.JsonRestore())
        leaves, metadata = _verified(restored)
        for name, leaf in leaves.items():  # Orbax does not mind a shape that is not the expected one
            if leaf.shape != expected[name].shape:
                raise DamagedCheckpointError(f"{name} is of shape {leaf.shape}, expected is {expected[name].shape}")
        return from_leaves(leaves, like), metadata

    def _note_error(self, step: int, metadata: Mapping[str, Any]) -> None:
        error = metadata.get("top1_error")
        if error is not None:
            self._errors[step] = error

    def _set_aside(self, step: int, error: DamagedCheckpointError) -> str:
        target = self._directory.parent / SET_ASIDE / str(step)
        target.parent.mkdir(exist_ok=True)
        attempt = 0
        while target.exists():
            attempt += 1
            target = target.with_name(f"{step}.{attempt}")
        (self._directory / str(step)).rename(target)
        self._manager.reload()
        self._errors.pop(step, None)
        return f"warning: checkpoint {step} is damaged and was moved to {target}: {error}"

    def wait(self) -> None:
        """Waits until every save is on disk.

        Raises:
            TrainingError: one could not be written.
        """
        with self._saving():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _saving(self) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise errors of many unrelated types, for a full disk too
            reason = textwrap.shorten(str(error) or type(error).__name__, 200)
            raise TrainingError(
                f"no checkpoint can be written to {self._directory} ({reason}): make room there, and run the same "
                "command again; it goes on from the last one that was saved"
            ) from error

    def close(self) -> None:
        """Waits, then ends Orbax's threads."""
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # closing meets a failed save once more
                self._manager.close()

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
