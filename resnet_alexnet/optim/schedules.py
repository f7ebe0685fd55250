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
            f"schedule.boundaries is {tuple(boundaries)} (allowed for 'steps': one or more steps above 0, in strictly "
            "increasing order)"
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
    """Creates a schedule: step, counted from 0 -> learning rate.

    Args:
        name: "constant"; "steps", times `factor` at each boundary; "cosine", from `learning_rate` after the warm-up to
            0 at `num_steps`; "plateau", constant here because `plateau.Plateau` multiplies it.
        learning_rate: the learning rate after the warm-up.
        num_steps: the length of the run in steps, for "cosine".
        warmup_steps: steps over which the learning rate rises linearly, from learning_rate / warmup_steps at step 0 to
            learning_rate at step warmup_steps - 1; 0 for no warm-up.
        boundaries: for "steps", in steps from the start of the run; those past `num_steps` are not reached.
        factor: for "steps", the factor at each boundary.

    Raises:
        InputError: the name is unknown, or a number is out of its range.

    Source: [K12] section 5, divided by 10 by hand, three times; [H15] section 4.2, boundaries 32k and 48k of 64k.
    Departure: "cosine" and the linear warm-up are newer than both papers.
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
    """Scales a learning rate to another batch size: by 1 ("none"), their ratio ("linear") or its root ("sqrt").

    Raises:
        InputError: the rule is unknown, or a batch size is below 1.

    Source: Krizhevsky 2014, "One weird trick", section 5: theory suggests "sqrt", the experiments use "linear".
    """
    check_name("optim.batch_size_rule", rule, BATCH_SIZE_RULES)
    for name, size in (("batch_size", batch_size), ("optim.reference_batch_size", reference_batch_size)):
        if size < 1:
            raise InputError(f"{name} is {size} (allowed: 1 or more)")
    exponent = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}[rule]
    return learning_rate * (batch_size / reference_batch_size) ** exponent


class ScaleUntilErrorState(NamedTuple):
    """The state of `warmup_until_error`.

    Attributes:
        error_sum: sum of the errors in the current window, in percent.
        count: steps in the current window.
        scale: the current factor, 1 after the warm-up.
    """

    error_sum: Float[Array, ""]
    count: Int[Array, ""]
    scale: Float[Array, ""]


def warmup_until_error(
    scale: float = 0.1, threshold: float = 80.0, window: int = 100
) -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by `scale` until the training error is below `threshold`, then by 1.

    The error is the mean over consecutive windows of `window` steps. A window with a NaN does not end the warm-up. The
    last step of the window that ends it already makes a full update, so the state after an update has the factor that
    the update used.

    Args:
        scale: the factor of the warm-up, in (0, 1].
        threshold: the error that ends the warm-up, in percent.
        window: the length of a window in steps.

    Returns:
        A transformation whose update needs `train_error=`, a scalar: the top-1 error of the global batch in percent. It
        must be the same on every replica.

    Raises:
        InputError: a number is out of its range.

    Source: [H15] section 4.2: ResNet-110 starts at 0.01 "until the training error is below 80% (about 400
    iterations)", then goes back to 0.1.
    Departure: the paper does not say over which images it measured the error; a window is less noisy than a batch.
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
    """The current learning rate: the scheduled value times the factors of plateau and warm-up in `opt_state`."""
    kinds = (optax.contrib.ReduceLROnPlateauState, ScaleUntilErrorState)
    for state in jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kinds)):
        if isinstance(state, kinds):
            schedule_value = schedule_value * state.scale
    return schedule_value
