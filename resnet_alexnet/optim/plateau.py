"""Lowers the learning rate when the validation error stops improving."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, Float, PyTree

from resnet_alexnet.errors import InputError

PlateauState = optax.contrib.ReduceLROnPlateauState


def _is_plateau(node: object) -> bool:
    """Whether a node of an optimizer state is the state of a plateau."""
    return isinstance(node, PlateauState)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plateau:
    """Multiplies the learning rate by `factor` whenever the validation error stops improving.

    Add `transformation` to the chain of the optimizer: it multiplies updates by the current scale. Call `step` after
    each evaluation: it updates the scale. The state is that of `optax.contrib.reduce_on_plateau`, so it is saved,
    restored and replicated with the rest of the optimizer.

    An error is an improvement if it is below (1 - rtol) * best - atol; NaN is not. The error must come from held-out
    training images, never from the test set.

    Attributes:
        patience: consecutive evaluations without improvement until a drop: with 2 the learning rate drops at the
            second. Optax counts in the same way. torch's ReduceLROnPlateau drops one evaluation later, so its
            patience=1 is 2 here.
        factor: the factor of the learning rate at a drop, in (0, 1).
        cooldown: evaluations after a drop that do not count toward the next, as in Optax and torch.
        min_scale: the smallest scale, as a fraction of the scheduled learning rate, in [0, 1].
        rtol: required relative improvement, in [0, 1).
        atol: required absolute improvement, in percent. The default means "strictly smaller": in a set of fewer than
            10^7 images one image changes the error by more, and Optax does not allow 0 for both tolerances.

    Raises:
        InputError: a field is out of its range.

    Source: [K12] section 5 "divide the learning rate by 10 when the validation error rate stopped improving",
    three times; [H15] section 3.4 "divided by 10 when the error plateaus".
    Departure: both papers lowered it by hand.
    """

    patience: int
    factor: float = 0.1
    cooldown: int = 0
    min_scale: float = 0.0
    rtol: float = 0.0
    atol: float = 1e-6

    def __post_init__(self):
        allowed = {
            "patience": (self.patience >= 1, "1 evaluation or more"),
            "factor": (0.0 < self.factor < 1.0, "between 0 and 1, both excluded"),
            "cooldown": (self.cooldown >= 0, "0 evaluations or more"),
            "min_scale": (0.0 <= self.min_scale <= 1.0, "0 to 1"),
            "rtol": (0.0 <= self.rtol < 1.0, "0 to 1, 1 excluded"),
            "atol": (self.atol > 0.0 or (self.atol == 0.0 and self.rtol > 0.0), "above 0, or 0 with an rtol above 0"),
        }
        for name, (valid, values) in allowed.items():
            if not valid:
                raise InputError(f"schedule.{name} is {getattr(self, name)!r} (allowed: {values})")

    def _reduce_on_plateau(self) -> optax.GradientTransformationExtraArgs:
        """Optax's transformation, which counts and multiplies at once."""
        return optax.contrib.reduce_on_plateau(
            factor=self.factor,
            patience=self.patience,
            rtol=self.rtol,
            atol=self.atol,
            cooldown=self.cooldown,
            min_scale=self.min_scale,
        )

    def transformation(self) -> optax.GradientTransformation:
        """Multiplies updates by the current scale; its update does not change its state."""

        def init(params: PyTree) -> optax.OptState:
            del params
            # Optax takes its dtypes from the parameters; in bfloat16 the error would be too coarse by whole images.
            return self._reduce_on_plateau().init(jnp.zeros((), jnp.float32))

        def update(updates, state, params=None):
            del params
            return jax.tree.map(lambda u: u * state.scale.astype(u.dtype), updates), state

        return optax.GradientTransformation(init, update)

    def step(self, opt_state: PyTree, error: float | Float[Array, ""]) -> PyTree:
        """Returns `opt_state` after an evaluation with top-1 error `error`, in percent; does not change its input.

        Raises:
            InputError: `opt_state` does not have exactly one plateau state.
        """
        leaves, structure = jax.tree.flatten(opt_state, is_leaf=_is_plateau)
        places = [i for i, leaf in enumerate(leaves) if _is_plateau(leaf)]
        if len(places) != 1:
            raise InputError(
                f"the optimizer state has {len(places)} plateau states (allowed: 1, from Plateau.transformation)"
            )
        leaves[places[0]] = _step(self, leaves[places[0]], error)
        return jax.tree.unflatten(structure, leaves)


@functools.partial(jax.jit, static_argnames="plateau")
def _step(plateau: Plateau, state: PlateauState, error: float | Float[Array, ""]) -> optax.OptState:
    """The state of the plateau after one more error. Jitted because Optax's rule is many small operations."""
    _, new_state = plateau._reduce_on_plateau().update({}, state, value=error)
    return new_state
