"""From a config to the update rule, the schedule it follows, and what an evaluation steps."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import optax
from ml_collections import ConfigDict

from resnet_alexnet.errors import InputError
from resnet_alexnet.optim.plateau import Plateau
from resnet_alexnet.optim.schedules import create_schedule, scaled_learning_rate, warmup_until_error
from resnet_alexnet.optim.sgd import sgd


@dataclass(frozen=True)
class Optimizer:
    """The update rule, the schedule it follows, and the plateau that an evaluation steps, if there is one."""

    tx: optax.GradientTransformationExtraArgs
    learning_rate: float
    schedule: optax.Schedule
    plateau: Plateau | None


def create_optimizer(config: ConfigDict) -> Optimizer:
    """The papers' SGD with its schedule, and the transformations that a metric drives."""
    schedule_config = config.schedule
    rate = scaled_learning_rate(
        config.optim.learning_rate,
        batch_size=config.batch_size,
        reference_batch_size=config.optim.reference_batch_size,
        rule=config.optim.batch_size_rule,
    )
    schedule = create_schedule(
        schedule_config.name,
        learning_rate=rate,
        num_steps=config.num_steps,
        warmup_steps=schedule_config.warmup_steps,
        boundaries=schedule_config.boundaries,
        factor=schedule_config.factor,
    )
    scales, plateau = [], None
    if schedule_config.warmup_until_error:
        scales.append(
            warmup_until_error(
                schedule_config.warmup_until_error_scale,
                schedule_config.warmup_until_error,
                schedule_config.warmup_until_error_window,
            )
        )
    if schedule_config.name == "plateau":
        plateau = Plateau(
            factor=schedule_config.factor,
            patience=schedule_config.patience,
            cooldown=schedule_config.cooldown,
            floor=schedule_config.min_scale,
        )
        scales.append(plateau.transformation())
    tx = sgd(
        schedule,
        momentum=config.optim.momentum,
        nesterov=config.optim.nesterov,
        weight_decay=config.optim.weight_decay,
        decay_mask=config.optim.decay_mask,
        update_rule=config.optim.update_rule,
        bias_learning_rate=config.optim.bias_learning_rate,
        clip_norm=config.optim.clip_norm,
        lr_multipliers=parse_lr_multipliers(config.finetune.lr_multipliers),
        scales=scales,
    )
    return Optimizer(tx=tx, learning_rate=rate, schedule=schedule, plateau=plateau)


def parse_lr_multipliers(words: Iterable[str]) -> dict[str, float]:
    """Factors of the learning rate by path, of words such as "stages/0=0.1".

    Raises:
        InputError: a word that is none, a factor that is negative or not finite, or a path that is given twice.
    """
    rates: dict[str, float] = {}
    for word in words:
        path, _, factor = word.rpartition("=")
        try:
            rate = float(factor)
        except ValueError:
            rate = math.nan
        if not path or not 0 <= rate < math.inf:
            raise InputError(
                f"finetune.lr_multipliers has {word!r} (allowed: PATH=FACTOR from 0 up, such as 'stem=0.1')"
            )
        if path in rates:
            raise InputError(f"finetune.lr_multipliers has {path!r} twice (allowed: each path once)")
        rates[path] = rate
    return rates
