"""The state of a training run: everything that a step changes and a checkpoint holds."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from resnet_alexnet.paths import Tree

NEVER = -1  # nonfinite_step of a healthy run


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """A plain pytree of plain dicts; equal on every device.

    Attributes:
        step: optimizer steps done, which is also the position in the data.
        ema: the exponential moving average of {"params", "batch_stats"}, empty where none is kept.
        sums: masked sums of the training metrics since they were last logged.
        best_error: the lowest val/top1_error so far, in percent.
        nonfinite_step: the first step whose loss was not finite, or NEVER.
    """

    step: Int[Array, ""]
    params: Tree
    batch_stats: Tree
    opt_state: optax.OptState
    ema: Tree
    sums: dict[str, Float[Array, ""]]
    best_error: Float[Array, ""]
    nonfinite_step: Int[Array, ""]

    def replace(self, **changes: Any) -> "TrainState":
        """A copy with some fields changed."""
        return replace(self, **changes)

    def evaluated(self) -> tuple[Tree, Tree]:
        """The params and batch_stats that are evaluated: their moving average where it is kept."""
        return (self.ema["params"], self.ema["batch_stats"]) if self.ema else (self.params, self.batch_stats)


def create_state(
    params: Tree, batch_stats: Tree, opt_state: optax.OptState, sums: dict[str, jax.Array], *, ema: bool = False
) -> TrainState:
    """The state before the first step; with `ema` it keeps a moving average, which starts at the values given."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        ema={"params": params, "batch_stats": batch_stats} if ema else {},
        sums=sums,
        best_error=jnp.full((), jnp.inf, jnp.float32),
        nonfinite_step=jnp.full((), NEVER, jnp.int32),
    )
