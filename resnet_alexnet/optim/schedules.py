"""The learning rate as a function of the step, and as a function of the training error."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from resnet_alexnet.errors import InputError, check_name

SCHEDULES = ("constant", "steps", "cosine", "plateau")
BATCH_SIZE_RULES = ("none", "linear", "sqrt")


def _check_boundaries(boundaries: Sequence[int]) -> None:
    """Raises InputError unless the boundaries are positive and strictly increasing."""
    whole = bool(boundaries) and all(isinstance(step, int) for step in boundaries)
    if not whole or boundaries[0] <= 0 or not all(a < b for a, b in itertools.pairwise(boundaries)):
        raise InputError(
            f"schedule.boundaries is {tuple(boundaries)} (allowed for 'steps': one step or more, each above 0 and "
            "above the one before)"
        )


def create_schedule(
    name: str,
    *,
    learning_rate: float,
    num_steps: int,
    warmup_steps: int = 0,
    boundaries: Sequence[int] = (),
    factor: float = 0.1,
) -> optax.Schedule:
    """The learning rate of a step, counted from 0.

    Args:
        name: "constant"; "steps", times `factor` from each boundary on; "cosine", from the rate after the
            warm-up to 0 at `num_steps`; "plateau", constant here, for `plateau.Plateau` does the multiplying.
        learning_rate: the rate after the warm-up.
        num_steps: the length of the run in steps; read by "cosine".
        warmup_steps: the rate rises linearly over these, learning_rate / warmup_steps at step 0 and
            learning_rate at step warmup_steps - 1; 0 is no warm-up.
        boundaries: in steps from the start of the run, for "steps"; those past `num_steps` are not reached.
        factor: what "steps" multiplies by.

    Raises:
        InputError: an unknown name, or a number out of its range.

    Source: [K12 section 5] divided by 10 by hand, three times; [H15 section 4.2] boundaries 32k and 48k of 64k.
    Departure: "cosine" and the linear warm-up are later than both papers.
    """
    check_name("schedule.name", name, SCHEDULES)
    if not (learning_rate > 0.0 and math.isfinite(learning_rate)):
        raise InputError(f"optim.learning_rate is {learning_rate!r} (allowed: a finite number above 0)")
    if num_steps < 1:
        raise InputError(f"num_steps is {num_steps} (allowed: 1 or more)")
    if warmup_steps < 0:
        raise InputError(f"schedule.warmup_steps is {warmup_steps} (allowed: 0 or more)")
    if name == "steps":
        _check_boundaries(boundaries)
        if not 0.0 < factor < math.inf:
            raise InputError(f"schedule.factor is {factor!r} (allowed: a finite number above 0)")
        schedule = optax.piecewise_constant_schedule(learning_rate, dict.fromkeys(boundaries, factor))
    elif name == "cosine":
        if warmup_steps >= num_steps:
            raise InputError(
                f"schedule.warmup_steps is {warmup_steps} (allowed for 'cosine': less than num_steps, {num_steps})"
            )
        cosine = optax.cosine_decay_schedule(learning_rate, num_steps - warmup_steps)

        def after_warmup(step):
            return cosine(jnp.maximum(step - warmup_steps, 0))

        schedule = after_warmup
    else:
        schedule = optax.constant_schedule(learning_rate)
    if warmup_steps == 0:
        return schedule
    return lambda step: schedule(step) * jnp.minimum((step + 1) / warmup_steps, 1.0)


def scaled_learning_rate(
    learning_rate: float, *, batch_size: int, reference_batch_size: int, rule: str = "none"
) -> float:
    """The recipe's rate for another batch size: times 1, the ratio of the sizes ("linear"), or its root ("sqrt").

    Raises:
        InputError: an unknown rule, or a batch size below 1.

    Source: [K14 section 5] theory suggests "sqrt", the experiments use "linear".
    """
    check_name("optim.batch_size_rule", rule, BATCH_SIZE_RULES)
    for what, size in (("batch_size", batch_size), ("optim.reference_batch_size", reference_batch_size)):
        if size < 1:
            raise InputError(f"{what} is {size} (allowed: 1 or more)")
    exponent = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}[rule]
    return learning_rate * (batch_size / reference_batch_size) ** exponent


class ScaleUntilErrorState(NamedTuple):
    """Sum and number of the errors in the unfinished window, and the factor in force (1 once it is over)."""

    error_sum: Float[Array, ""]
    count: Int[Array, ""]
    scale: Float[Array, ""]


def warmup_until_error(
    scale: float = 0.1, threshold: float = 80.0, window: int = 100
) -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by `scale` until the training error is below `threshold`, and by 1 ever after.

    The error is the mean over windows of `window` steps that follow one another; a window with a NaN
    does not pass. Where a window passes, that step's own update is already a full one, so the state
    after an update tells the factor which that update used.

    Args:
        scale: the factor before, in (0, 1].
        threshold: in percent.
        window: in steps.

    Returns:
        A transformation whose update wants `train_error=`, a scalar: the top-1 error in percent of the whole
        (global) minibatch. Every replica must be given the same number.

    Raises:
        InputError: a number out of its range.

    Source: [H15 section 4.2] ResNet-110 starts at 0.01 "until the training error is below 80% (about 400
    iterations)", then goes back to 0.1.
    Departure: the paper does not say over what the error was taken; a window makes it less noisy than a minibatch.
    """
    if not 0.0 < scale <= 1.0:
        raise InputError(f"schedule.warmup_until_error_scale is {scale!r} (allowed: above 0, at most 1)")
    if not 0.0 < threshold <= 100.0:
        raise InputError(f"schedule.warmup_until_error is {threshold!r} (allowed: percent, above 0, at most 100)")
    if window < 1:
        raise InputError(f"schedule.warmup_until_error_window is {window} (allowed: 1 step or more)")

    def init(params: PyTree) -> ScaleUntilErrorState:
        del params
        return ScaleUntilErrorState(
            jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32), jnp.asarray(scale, jnp.float32)
        )

    def update(updates, state, params=None, *, train_error, **extra_args):
        del params, extra_args
        error_sum = state.error_sum + jnp.asarray(train_error, jnp.float32)
        count = state.count + 1
        full = count == window
        passed = full & (error_sum / window < threshold)
        state = ScaleUntilErrorState(
            error_sum=jnp.where(full, 0.0, error_sum),
            count=jnp.where(full, 0, count),
            scale=jnp.where(passed, 1.0, state.scale),
        )
        return jax.tree.map(lambda u: u * state.scale.astype(u.dtype), updates), state

    # Optax types the update without its extra arguments.
    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def current_learning_rate(opt_state: PyTree, schedule_value: ArrayLike) -> ArrayLike:
    """The rate in force: the schedule's value times the plateau's and the warm-up's factors in `opt_state`."""
    kinds = (optax.contrib.ReduceLROnPlateauState, ScaleUntilErrorState)
    for state in jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kinds)):
        if isinstance(state, kinds):
            schedule_value = schedule_value * state.scale
    return schedule_value
