"""Checkpoints by Orbax: the state, what it was trained with, and a digest that tells whether it came back whole."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from resnet_alexnet.state import TrainState

SET_ASIDE = "checkpoints_set_aside"
Leaves = dict[str, np.ndarray]


class DamagedCheckpointError(RuntimeError):
    """A checkpoint whose arrays are not those that were saved."""


@dataclass(frozen=True)
class Restored:
    """What was restored: the state (on the host), the record saved beside it, and warnings about damaged ones."""

    state: TrainState
    record: dict[str, Any]
    warnings: tuple[str, ...]


def _leaf_name(path: tuple[Any, ...]) -> str:
    """A leaf's path as "params/stages/0/0/conv1/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def to_leaves(state: TrainState) -> Leaves:
    """The state as a flat dict of host copies by path: the form in which it is stored."""
    return {_leaf_name(path): np.array(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def from_leaves(leaves: Leaves, like: TrainState) -> TrainState:
    """The state whose leaves these are, structured as `like`."""
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves[_leaf_name(path)], like)


def digest(leaves: Leaves) -> str:
    """A hash of every leaf's name, type, shape and bits."""
    hasher = hashlib.blake2b(digest_size=16)
    for name in sorted(leaves):
        leaf = leaves[name]
        hasher.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        hasher.update(np.ascontiguousarray(leaf).data)
    return hasher.hexdigest()


class Checkpointer:
    """Saves and restores the checkpoints in `directory`; a context manager that waits for saves under way.

    Saves are asynchronous and atomic; the last `keep` and the one with the lowest error stay.
    """

    def __init__(self, directory: Path, *, keep: int):
        # Orbax reports every save and restore at the level of information, through absl's logger.
        logging.getLogger("absl").setLevel(logging.WARNING)
        self._directory = directory
        policy = preservation_policy.AnyPreservationPolicy(
            [
                preservation_policy.LatestN(keep),
                preservation_policy.BestN(get_metric_fn=lambda metrics: metrics["top1_error"], reverse=True, n=1),
            ]
        )
        self._manager = ocp.CheckpointManager(
            directory.absolute(), options=ocp.CheckpointManagerOptions(preservation_policy=policy)
        )

    def save(self, state: TrainState, record: dict[str, Any], *, error: float | None) -> None:
        """Saves the state of its step in the background; nothing happens if that step is saved already.

        Args:
            state: copied to the host before this returns, so it may be donated afterwards.
            record: JSON values that belong to it (configuration, preprocessing).
            error: val/top1_error at this very step in percent, None if it was not evaluated here.
        """
        leaves = to_leaves(state)
        step = int(leaves["step"])
        if step in self._manager.all_steps():
            return
        saved = self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(leaves), record=ocp.args.JsonSave({**record, "digest": digest(leaves)})
            ),
            metrics={"top1_error": float("inf") if error is None else error},
            force=True,
        )
        if not saved:
            raise RuntimeError(f"the checkpoint of step {step} in {self._directory} was not saved")

    def restore(self, like: TrainState) -> Restored | None:
        """The newest checkpoint that is whole, None where there is none at all.

        Damaged ones on the way are moved out of the folder, beside it. If all are damaged nothing is moved and the
        newest one's error is raised.

        Args:
            like: a state with the structure, shapes and dtypes that are expected.
        """
        damaged: list[tuple[int, Exception]] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state, record = self._restore_step(step, like)
            except Exception as error:  # Orbax and TensorStore raise errors of many unrelated types for damaged files
                damaged.append((step, error))
                continue
            return Restored(state, record, tuple(self._set_aside(*bad) for bad in damaged))
        if damaged:
            raise damaged[0][1]
        return None

    def _restore_step(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        expected = {
            _leaf_name(path): np.zeros(leaf.shape, leaf.dtype)
            for path, leaf in jax.tree_util.tree_leaves_with_path(like)
        }
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardRestore(expected), record=ocp.args.JsonRestore()),
        )
        leaves = {name: np.asarray(leaf) for name, leaf in restored["state"].items()}
        if digest(leaves) != restored["record"]["digest"]:
            raise DamagedCheckpointError(f"checkpoint {step} in {self._directory}: its arrays are not those saved")
        return from_leaves(leaves, like), restored["record"]

    def _set_aside(self, step: int, error: Exception) -> str:
        target = self._directory.parent / SET_ASIDE / str(step)
        target.parent.mkdir(exist_ok=True)
        attempt = 0
        while target.exists():
            attempt += 1
            target = target.with_name(f"{step}.{attempt}")
        (self._directory / str(step)).rename(target)
        self._manager.reload()
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return f"checkpoint {step} is damaged and was moved to {target}: {reason}"

    def wait(self) -> None:
        """Waits until every save is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then ends Orbax's threads."""
        self.wait()
        self._manager.close()

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
