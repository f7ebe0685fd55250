"""Checks of a run under way: whether its loss is finite, and whether it has begun to fall."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from resnet_alexnet.errors import TrainingError
from resnet_alexnet.train.state import NEVER, TrainState

STUCK_MARGIN = 0.005  # a loss within this fraction of the constant prediction's has not begun to fall

CAUSES = "usual causes: too high a learning rate, no warm-up, wrong normalization or labels, bfloat16 overflow"


def check_finite(state: TrainState, learning_rate: Callable[[int], float]) -> None:
    """Raises TrainingError if a loss or a parameter is not finite.

    Args:
        state: the state of the run.
        learning_rate: the learning rate of the update that follows a number of updates.
    """
    if (done := int(state.nonfinite_step)) != NEVER:  # steps before the bad one
        what = f"the loss is not finite at step {done + 1}"
    elif not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params)):
        done = int(state.step) - 1
        what = f"parameters are not finite by step {done + 1}"  # in which step they ceased to be is not known
    else:
        return
    raise TrainingError(f"{what} (learning rate {learning_rate(done):g}); {CAUSES}")


def check_falling(loss: float, chance: float, step: int) -> None:
    """Raises TrainingError if the loss after `step` steps is that of a constant prediction, `chance`."""
    if abs(loss - chance) < STUCK_MARGIN * chance:
        raise TrainingError(
            f"after {step} steps the loss is {loss:.4f}, no better than a constant prediction ({chance:.4f}); "
            "usual causes: too low or too high a learning rate, too small initial weights, labels that do not "
            "belong to the images (guard.stuck_steps sets the step of this check; 0 turns it off)"
        )
