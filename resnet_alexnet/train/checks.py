"""Checks of a run under way: whether its loss is finite, and whether it has begun to fall."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from resnet_alexnet.errors import TrainingError
from resnet_alexnet.train.state import NEVER, TrainState
from resnet_alexnet.workdir.goodput import DIVERGED, STUCK

STUCK_MARGIN = 0.005  # a loss within this fraction of the constant prediction's has not begun to fall

CAUSES = "usual causes: too high a learning rate, no warm-up, wrong normalization or labels, bfloat16 overflow"


class FailedCheckError(TrainingError):
    """A check failed, as it would again: the run ends.

    Attributes:
        end: the mark of its last line.
    """

    def __init__(self, message: str, end: str) -> None:
        super().__init__(message)
        self.end = end


def check_finite(state: TrainState, learning_rate: Callable[[int], float]) -> None:
    """Raises FailedCheckError if a loss or a parameter is not finite.

    Args:
        state: the state of the run.
        learning_rate: the learning rate of the update that follows a number of updates.
    """
    if (done := int(state.nonfinite_step)) != NEVER:  # steps before the bad one
        what = f"the loss is not finite at step {done + 1}"
    elif not _all_finite(state.params):
        done = int(state.step) - 1
        what = f"parameters are not finite by step {done + 1}"  # in which step they ceased to be is not known
    else:
        return
    raise FailedCheckError(f"{what} (learning rate {learning_rate(done):g}); {CAUSES}", DIVERGED)


@jax.jit  # one program, which is compiled sooner than one for each shape
def _all_finite(tree: Any) -> jax.Array:
    """Zero times a number is NaN if that is not finite; `isfinite(leaf).all()` takes three times as long to compile."""
    return jnp.isfinite(jnp.array([(0 * leaf).sum() for leaf in jax.tree.leaves(tree)])).all()


def check_falling(loss: float, chance: float, step: int) -> None:
    """Raises FailedCheckError if the loss after `step` steps is that of a constant prediction, `chance`."""
    if abs(loss - chance) < STUCK_MARGIN * chance:
        raise FailedCheckError(
            f"after {step} steps the loss is {loss:.4f}, no better than a constant prediction ({chance:.4f}); "
            "usual causes: too low or too high a learning rate, too small initial weights, labels that do not "
            "belong to the images (guard.stuck_steps sets the step of this check; 0 turns it off)",
            STUCK,
        )
