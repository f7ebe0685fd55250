"""The ranges of the config's numbers, and the choices of its fields, that no other module checks."""

import functools
import math
import operator

from ml_collections import ConfigDict

from resnet_alexnet import models
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.train.model import check_towers
from resnet_alexnet.train.steps import DTYPES

ON_DEVICE = ("auto", "yes", "no")
TEST = ("end", "never")


def check_numbers(config: ConfigDict) -> None:
    """Raises InputError if a number is out of range or a choice does not exist."""
    most = 2**31 - 1  # the greatest int32, the type of the step counter
    at_least = {
        "seed": 0,
        "batch_size": 1,
        "accumulate_steps": 1,
        "num_steps": 1,
        "steps_per_call": 0,
        "augment.pad": 0,
        "eval.every_steps": 0,
        "eval.batch_size": 1,
        "checkpoint.every_steps": 0,
        "checkpoint.keep": 1,
        "log.every_steps": 1,
        "guard.stuck_steps": 0,
        "dataset.max_unreadable": 0,
        "hosts.connect_seconds": 1,
        "hosts.heartbeat_seconds": 2,
        "hosts.watchdog_seconds": 0,
    }
    below = {"augment.color_std": math.inf, "augment.mixup": math.inf, "augment.cutmix": math.inf, "optim.ema_decay": 1}

    def value(field: str) -> float:
        return functools.reduce(operator.getitem, field.split("."), config)

    for field, least in at_least.items():
        if not least <= value(field) <= most:
            raise InputError(f"{field} is {value(field)} (allowed: {least} to {most})")
    for field, limit in below.items():
        if not 0 <= value(field) < limit:
            raise InputError(f"{field} is {value(field)} (allowed: at least 0 and below {limit})")
    models.check_model(config.model.name)
    check_name("precision", config.precision, DTYPES)
    check_name("dataset.on_device", config.dataset.on_device, ON_DEVICE)
    check_name("eval.test", config.eval.test, TEST)
    check_towers(config.mesh.towers, config.model.name, clip_norm=config.optim.clip_norm)
