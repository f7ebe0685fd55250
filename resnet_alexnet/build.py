"""From a config to the parts of a run: the only room, with train.py, that reads config fields."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from resnet_alexnet import augment, losses, metrics, models, parallel, steps
from resnet_alexnet.data import loader
from resnet_alexnet.data.preprocessing import Preprocessing, create_preprocessing
from resnet_alexnet.data.sources import ArraySource, Source, Splits, create_splits
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.optim.plateau import Plateau
from resnet_alexnet.optim.schedules import create_schedule, scale_until_error, scaled_learning_rate
from resnet_alexnet.optim.sgd import sgd
from resnet_alexnet.state import TrainState, create_state

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ON_DEVICE = ("auto", "yes", "no")
DEVICE_BYTES = 2**30  # "auto" keeps a training set of up to 1 GiB on the device


@dataclass(frozen=True)
class Optimizer:
    """The update rule, the schedule it follows, and the plateau that an evaluation steps, if there is one."""

    tx: optax.GradientTransformationExtraArgs
    learning_rate: float
    schedule: optax.Schedule
    plateau: Plateau | None


@dataclass(frozen=True)
class Experiment:
    """Everything that a run needs, built and checked; nothing has been computed on a device yet."""

    splits: Splits
    preprocessing: Preprocessing
    mesh: parallel.Mesh
    optimizer: Optimizer
    chance_loss: float
    resident: bool
    steps_per_call: int
    eval_batch_size: int
    create_state: Callable[[], TrainState]
    train_chunk: Callable[..., Any]
    eval_step: Callable[..., metrics.Sums]


def create_experiment(config: ConfigDict, devices: Sequence[jax.Device] | None = None) -> Experiment:
    """Builds the parts of the run that `config` describes, on all devices or those given.

    Raises:
        InputError: a field whose value is not allowed, does not fit another, or names data that is missing.
    """
    check_numbers(config)
    mesh = parallel.create_mesh(devices)
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    device_batch_size = parallel.device_batch_size(config.batch_size, mesh, field="batch_size")
    optimizer = create_optimizer(config)
    models.check_model(config.model.name)
    loss = losses.create_loss(config.loss.name, reduction=config.loss.reduction)
    splits = create_splits(**{name: value for name, value in config.dataset.items() if name != "on_device"})
    loader.steps_per_epoch(len(splits.train), config.batch_size)
    if optimizer.plateau is not None and splits.validation is None:
        raise InputError("schedule.name='plateau' needs val/top1_error: set dataset.validation_fraction above 0")
    if optimizer.plateau is not None and not config.eval.every_steps:
        raise InputError("schedule.name='plateau' needs val/top1_error again and again: set eval.every_steps above 0")
    preprocessing = create_preprocessing(splits.train, mean=config.augment.mean, std=config.augment.std)
    num_classes = count_logits(config, splits.train.classes)
    create_model = model_creator(config, preprocessing, num_classes, device_batch_size)
    forward = {
        "graphdef": nnx.graphdef(nnx.eval_shape(create_model)),
        "loss": loss,
        "normalize": partial(
            augment.normalize, mean=preprocessing.mean, std=preprocessing.std, dtype=DTYPES[config.precision]
        ),
        "axis_name": parallel.AXIS,
    }
    train_step = partial(
        steps.train_step,
        tx=optimizer.tx,
        augment=partial(augment.augment, pad=config.augment.pad, flip=config.augment.flip),
        seed=config.seed,
        **forward,
    )
    return Experiment(
        splits=splits,
        preprocessing=preprocessing,
        mesh=mesh,
        optimizer=optimizer,
        chance_loss=losses.chance_loss(config.loss.name, num_classes, reduction=config.loss.reduction),
        resident=keep_on_device(config.dataset.on_device, splits.train),
        steps_per_call=config.steps_per_call or (1 if on_cpu else 32),
        # Results do not depend on it: padded rows are masked.
        eval_batch_size=math.ceil(config.eval.batch_size / mesh.size) * mesh.size,
        create_state=partial(_create_state, create_model, optimizer.tx, num_classes),
        train_chunk=parallel.parallel_train_chunk(partial(steps.train_chunk, step=train_step, unroll=on_cpu), mesh),
        eval_step=parallel.parallel_eval_step(partial(steps.eval_step, **forward), mesh),
    )


def check_numbers(config: ConfigDict) -> None:
    """Raises InputError for a count that is out of range or a choice that does not exist."""
    most = 2**31 - 1  # what a step counter holds
    at_least = {
        "seed": 0,
        "batch_size": 1,
        "num_steps": 1,
        "steps_per_call": 0,
        "augment.pad": 0,
        "eval.every_steps": 0,
        "eval.batch_size": 1,
        "checkpoint.every_steps": 0,
        "checkpoint.keep": 1,
        "log.every_steps": 1,
        "guard.stuck_steps": 0,
    }
    for field, least in at_least.items():
        value = config
        for name in field.split("."):
            value = value[name]
        if not least <= value <= most:
            raise InputError(f"{field} is {value} (allowed: {least} to {most})")
    check_name("precision", config.precision, DTYPES)
    check_name("dataset.on_device", config.dataset.on_device, ON_DEVICE)


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
    if schedule_config.until_error:
        scales.append(
            scale_until_error(
                schedule_config.until_error_scale, schedule_config.until_error, schedule_config.until_error_window
            )
        )
    if schedule_config.name == "plateau":
        plateau = Plateau(
            factor=schedule_config.factor,
            patience=schedule_config.patience,
            cooldown=schedule_config.cooldown,
            floor=schedule_config.floor,
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
        scales=scales,
    )
    return Optimizer(tx=tx, learning_rate=rate, schedule=schedule, plateau=plateau)


def count_logits(config: ConfigDict, classes: tuple[str, ...]) -> int:
    """model.num_classes, or the number of classes of the data; one logit stands for two classes."""
    logits = config.model.num_classes
    if len(classes) < 2:
        raise InputError(f"dataset {config.dataset.name!r} has {len(classes)} class (allowed: 2 or more)")
    if logits is None:
        return len(classes)
    if logits == 1 and len(classes) == 2 and config.loss.name == "softmax_cross_entropy":
        raise InputError("model.num_classes=1 wants a binary loss: loss.name='binary_cross_entropy_with_logits'")
    if logits != len(classes) and not (logits == 1 and len(classes) == 2):
        raise InputError(
            f"model.num_classes={logits}, but dataset {config.dataset.name!r} has {len(classes)} classes: labels would "
            "be out of range (allowed: as many, unset, or 1 for two classes)"
        )
    return logits


def model_creator(
    config: ConfigDict, preprocessing: Preprocessing, num_classes: int, device_batch_size: int
) -> Callable[[], nnx.Module]:
    """A function without arguments that creates the network; to be traced, as creating one eagerly is slow."""
    options = {
        name: value for name, value in config.model.items() if value is not None and name not in ("name", "num_classes")
    }
    group = options.get("bn_group")
    if isinstance(group, int) and group > 0 and device_batch_size % group:
        raise InputError(
            f"model.bn_group={group} does not divide the {device_batch_size} images of a device: "
            f"raise batch_size to a multiple of {group} a device, or lower model.bn_group"
        )

    def create_model() -> nnx.Module:
        return models.create_model(
            config.model.name,
            num_classes=num_classes,
            image_size=preprocessing.image_size,
            channels=preprocessing.channels,
            rngs=nnx.Rngs(config.seed),
            **options,
        )

    return create_model


def keep_on_device(choice: str, source: Source) -> bool:
    """Whether the training set lives on the device: dataset.on_device, or by its size for "auto"."""
    small = isinstance(source, ArraySource) and source.images.nbytes <= DEVICE_BYTES
    if choice == "yes" and not isinstance(source, ArraySource):
        raise InputError("dataset.on_device='yes', but this data set is read from disk (allowed: 'auto', 'no')")
    return small if choice == "auto" else choice == "yes"


def resident_data(source: Source) -> dict[str, np.ndarray]:
    """The arrays of a set that is to live on the device."""
    return source.gather(np.arange(len(source)))


def _create_state(
    create_model: Callable[[], nnx.Module], tx: optax.GradientTransformationExtraArgs, num_classes: int
) -> TrainState:
    model = create_model()
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    batch_stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
    return create_state(params, batch_stats, tx.init(params), metrics.zero_sums(num_classes))
