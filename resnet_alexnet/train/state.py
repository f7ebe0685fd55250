"""The state of a training run: all that a step changes and a checkpoint stores."""

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
    """A pytree of plain dicts, equal on every device.

    Attributes:
        step: optimizer steps done. It is also the position in the data.
        params: the parameters.
        batch_stats: the running statistics of batch normalization.
        opt_state: the state of the optimizer.
        ema: the exponential moving average of {"params", "batch_stats"}; empty if it is off.
        sums: masked sums of the training metrics since the last log.
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
        """The params and batch_stats to evaluate: the moving averages if they are kept."""
        return (self.ema["params"], self.ema["batch_stats"]) if self.ema else (self.params, self.batch_stats)


def create_state(
    params: Tree, batch_stats: Tree, opt_state: optax.OptState, sums: dict[str, jax.Array], *, ema: bool = False
) -> TrainState:
    """The state before the first step; with `ema` it keeps a moving average, which starts at the given values."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        ema=jax.tree.map(jnp.array, {"params": params, "batch_stats": batch_stats}) if ema else {},  # copies: donated
        sums=sums,
        best_error=jnp.full((), jnp.inf, jnp.float32),
        nonfinite_step=jnp.full((), NEVER, jnp.int32),
    )
