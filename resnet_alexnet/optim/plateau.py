"""The learning rate divided when the validation error stops improving."""

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
    """Whether a node of an optimizer state is the plateau's."""
    return isinstance(node, PlateauState)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plateau:
    """Multiplies the learning rate by `factor` at each plateau of the validation error.

    `transformation` belongs in the optimizer's chain and only multiplies by the factor in force; `step`
    moves that factor, once an evaluation. The state is that of `optax.contrib.reduce_on_plateau`, so it
    is saved, restored and replicated with the rest of the optimizer.

    An error is better if it is below (1 - rtol) * best - atol; NaN never is. The error must come from held-out
    training images, never from the test set.

    Attributes:
        patience: evaluations in a row without improvement that make a drop: with 2 the rate drops at the second.
            Optax counts so too; torch's ReduceLROnPlateau drops one later, so its patience=1 is 2 here.
        factor: what the rate is multiplied by at a drop, in (0, 1).
        cooldown: evaluations after a drop that do not count toward the next, as in Optax and torch.
        min_scale: the smallest scale, as a share of the schedule's rate, in [0, 1].
        rtol: relative improvement that is wanted, in [0, 1).
        atol: absolute improvement that is wanted, in percent. The default stands for "strictly smaller": a
            single image weighs more in any set below 10^7 images, and Optax refuses 0 for both tolerances.

    Raises:
        InputError: a field out of its range.

    Source: [K12 section 5] "divide the learning rate by 10 when the validation error rate stopped improving",
    three times; [H15 section 3.4] "divided by 10 when the error plateaus".
    Departure: both papers dropped it by hand.
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
        for name, (good, what) in allowed.items():
            if not good:
                raise InputError(f"schedule.{name} is {getattr(self, name)!r} (allowed: {what})")

    def _reduce_on_plateau(self) -> optax.GradientTransformationExtraArgs:
        """Optax's own transformation, which counts and multiplies in one."""
        return optax.contrib.reduce_on_plateau(
            factor=self.factor,
            patience=self.patience,
            rtol=self.rtol,
            atol=self.atol,
            cooldown=self.cooldown,
            min_scale=self.min_scale,
        )

    def transformation(self) -> optax.GradientTransformation:
        """Multiplies updates by the scale in force; its update never changes its state."""

        def init(params: PyTree) -> optax.OptState:
            del params
            # Optax takes its dtypes from the parameters; an error in bfloat16 would lose whole images.
            return self._reduce_on_plateau().init(jnp.zeros((), jnp.float32))

        def update(updates, state, params=None):
            del params
            return jax.tree.map(lambda u: u * state.scale.astype(u.dtype), updates), state

        return optax.GradientTransformation(init, update)

    def step(self, opt_state: PyTree, error: float | Float[Array, ""]) -> PyTree:
        """`opt_state` after one more evaluation, whose error was `error` (percent); the input is left as it is.

        Raises:
            InputError: `opt_state` has no plateau's state, or several.
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
    """The plateau's state after one more error; jitted, for Optax's rule is many small operations."""
    _, new_state = plateau._reduce_on_plateau().update({}, state, value=error)
    return new_state
