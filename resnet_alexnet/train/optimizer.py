"""The optimizer of a run and its learning rate schedule."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import optax

from resnet_alexnet.errors import InputError
from resnet_alexnet.optim.plateau import Plateau
from resnet_alexnet.optim.schedules import create_schedule, scaled_learning_rate, warmup_until_error
from resnet_alexnet.optim.sgd import sgd


@dataclass(frozen=True)
class Optimizer:
    """The optimizer of a run.

    Attributes:
        tx: the update rule.
        learning_rate: the base learning rate, scaled to the batch size.
        schedule: the learning rate by step.
        plateau: the rule that lowers the learning rate by validation error; None unless schedule.name is "plateau".
    """

    tx: optax.GradientTransformationExtraArgs
    learning_rate: float
    schedule: optax.Schedule
    plateau: Plateau | None


def create_optimizer(
    optim: Mapping[str, Any],
    schedule: Mapping[str, Any],
    *,
    batch_size: int,
    num_steps: int,
    lr_multipliers: Iterable[str] = (),
) -> Optimizer:
    """The papers' SGD with its learning rate schedule.

    Args:
        optim: the group of the config.
        schedule: the group of the config.
        batch_size: images per step.
        num_steps: optimizer steps of the whole run.
        lr_multipliers: factors of the learning rate by path, such as "stages/0=0.1".

    Raises:
        InputError: the value of a field is not allowed.
    """
    learning_rate = scaled_learning_rate(
        optim["learning_rate"],
        batch_size=batch_size,
        reference_batch_size=optim["reference_batch_size"],
        rule=optim["batch_size_rule"],
    )
    learning_rates = create_schedule(
        schedule["name"],
        learning_rate=learning_rate,
        num_steps=num_steps,
        warmup_steps=schedule["warmup_steps"],
        boundaries=schedule["boundaries"],
        factor=schedule["factor"],
    )
    scales, plateau = [], None
    if schedule["warmup_until_error"]:
        scales.append(
            warmup_until_error(
                schedule["warmup_until_error_scale"],
                schedule["warmup_until_error"],
                schedule["warmup_until_error_window"],
            )
        )
    if schedule["name"] == "plateau":
        names = ("factor", "patience", "cooldown", "min_scale")
        plateau = Plateau(**{name: schedule[name] for name in names})
        scales.append(plateau.transformation())
    names = ("momentum", "nesterov", "weight_decay", "decay_mask", "update_rule", "bias_learning_rate", "clip_norm")
    tx = sgd(
        learning_rates,
        **{name: optim[name] for name in names},
        lr_multipliers=parse_lr_multipliers(lr_multipliers),
        scales=scales,
    )
    return Optimizer(tx=tx, learning_rate=learning_rate, schedule=learning_rates, plateau=plateau)


def parse_lr_multipliers(words: Iterable[str]) -> dict[str, float]:
    """Parses factors of the learning rate by path, such as "stages/0=0.1".

    Raises:
        InputError: a word is not PATH=FACTOR, a factor is negative or not finite, or a path is given twice.
    """
    multipliers: dict[str, float] = {}
    for word in words:
        path, _, factor = word.rpartition("=")
        try:
            value = float(factor)
        except ValueError:
            value = math.nan
        if not path or not 0 <= value < math.inf:
            raise InputError(
                f"finetune.lr_multipliers has {word!r} (allowed: PATH=FACTOR, FACTOR at least 0, such as 'stem=0.1')"
            )
        if path in multipliers:
            raise InputError(f"finetune.lr_multipliers has {path!r} twice (allowed: each path once)")
        multipliers[path] = value
    return multipliers
