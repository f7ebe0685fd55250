"""Builds the parts of a run from its config. Below this module and train/loop.py only plain arguments are passed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from resnet_alexnet import losses, metrics, parallel
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.sources import ProgressFn, Source, Splits, no_progress
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.paths import partition
from resnet_alexnet.train import steps
from resnet_alexnet.train.accumulation import check_accumulation
from resnet_alexnet.train.finetune import load_start, start_preprocessing
from resnet_alexnet.train.inputs import Inputs, balanced_weights, create_inputs, create_mix, read_splits
from resnet_alexnet.train.model import (
    Model,
    check_batch_norm,
    check_bn_group,
    create_model,
    create_run_state,
    set_options,
)
from resnet_alexnet.train.optimizer import Optimizer, create_optimizer
from resnet_alexnet.train.ranges import check_numbers
from resnet_alexnet.train.state import TrainState
from resnet_alexnet.train.steps import DTYPES

DEVICE_BYTES = 2**30  # "auto" keeps a training set of up to 1 GiB on the device


@dataclass(frozen=True)
class Steps:
    """The functions that a run calls, and their sizes.

    Attributes:
        create_state: (`Model.start`) -> the state before the first step.
        preprocess_batch: (batch, keys) -> the images and labels to train on.
        train_chunk: jitted, (state, data, chunk) -> (state, step).
        eval_step: jitted, (params, batch_stats, batch) -> sums of the metrics.
        resident: whether the training set is kept on the device.
        steps_per_call: training steps per dispatch.
        eval_batch_size: images per evaluation step, over all devices.
        state_specs: where each array of the state is, for `parallel.shard`.
    """

    create_state: Callable[..., TrainState]
    preprocess_batch: steps.PreprocessFn
    train_chunk: Callable[..., Any]
    eval_step: Callable[..., metrics.Sums]
    resident: bool
    steps_per_call: int
    eval_batch_size: int
    state_specs: parallel.Specs


@dataclass(frozen=True)
class Experiment:
    """The parts of a run, built and checked. Nothing has been computed on a device yet.

    Attributes:
        chance_loss: the loss of the best constant prediction on balanced classes, in nats.
    """

    mesh: parallel.Mesh
    inputs: Inputs
    model: Model
    optimizer: Optimizer
    steps: Steps
    chance_loss: float


def create_experiment(
    config: ConfigDict,
    devices: Sequence[jax.Device] | None = None,
    *,
    weights: Path | None = None,
    read: Callable[..., Splits] = read_splits,
    progress: ProgressFn = no_progress,
) -> Experiment:
    """Builds and checks the parts of a run.

    Args:
        config: the config.
        devices: the devices to train on; None for all.
        weights: path to read the initial weights from, instead of finetune.weights; None for finetune.weights itself.
        read: reads the data set; takes the arguments of `read_splits`.
        progress: shows the progress of reading the data.

    Raises:
        InputError: the value of a field is not allowed, conflicts with another field, or names data that is missing.
    """
    check_numbers(config)
    mesh = parallel.create_tower_mesh(config.mesh.towers, devices)
    device_batch_size = parallel.device_batch_size(config.batch_size, mesh, field="batch_size")
    optimizer = create_optimizer(
        config.optim,
        config.schedule,
        batch_size=config.batch_size,
        num_steps=config.num_steps,
        lr_multipliers=config.finetune.lr_multipliers,
    )
    create_losses(config.loss)  # to check it before the data is read
    start = load_start(
        config.finetune, config.model.name, set_options(config.model), weights=weights, progress=progress
    )
    # A resumed run keeps what its own checkpoint says.
    kept = start and (start.network.spec.preprocessing if weights else start_preprocessing(start, config.preprocess))
    groups = (config.dataset, config.preprocess, config.augment)
    splits = read(*groups, start=kept, test=config.eval.test == "end", progress=progress)
    check_splits(splits, config)
    loss = create_losses(config.loss, balanced_weights(splits.train) if config.loss.get("class_weights") else None)
    num_logits = count_logits(config, splits.train.classes)
    inputs = create_inputs(splits, config.preprocess, config.augment, start=kept, progress=progress)
    model = create_model(
        config.model,
        inputs.preprocessing,
        num_logits=num_logits,
        scores="softmax" if config.loss.name == "softmax_cross_entropy" else "sigmoid",
        start=start,
        finetune=config.finetune,
        towers=config.mesh.towers,
    )
    check_parts(config, model, optimizer, mesh, device_batch_size)
    called = create_steps(
        inputs,
        model,
        optimizer,
        loss,
        mesh,
        seed=config.seed,
        precision=config.precision,
        mixup=config.augment.mixup,
        cutmix=config.augment.cutmix,
        ema_decay=config.optim.ema_decay,
        accumulate_steps=config.accumulate_steps,
        on_device=config.dataset.on_device,
        steps_per_call=config.steps_per_call,
        eval_batch_size=config.eval.batch_size,
    )
    chance_loss = losses.chance_loss(config.loss.name, num_logits, reduction=config.loss.reduction)
    return Experiment(mesh, inputs, model, optimizer, called, chance_loss)


def create_losses(
    loss: Mapping[str, Any], class_weights: Sequence[float] | None = None
) -> tuple[steps.LossFn, steps.LossFn]:
    """The training loss, and the evaluation loss, which has no label smoothing and no class weights.

    Args:
        loss: the group of the config.
        class_weights: the weights that its `class_weights` asks for, see `losses.create_loss`.

    Raises:
        InputError: the value of a field is not allowed.
    """
    if loss.get("class_weights") is not None:
        check_name("loss.class_weights", loss["class_weights"], ("balanced",))
    evaluated = losses.create_loss(loss["name"], reduction=loss["reduction"])
    return losses.create_loss(**{**loss, "class_weights": class_weights}), evaluated


def create_steps(
    inputs: Inputs,
    model: Model,
    optimizer: Optimizer,
    loss: tuple[steps.LossFn, steps.LossFn],
    mesh: parallel.Mesh,
    *,
    seed: int,
    precision: str,
    mixup: float,
    cutmix: float,
    ema_decay: float,
    accumulate_steps: int,
    on_device: str,
    steps_per_call: int,
    eval_batch_size: int,
) -> Steps:
    """The functions that a run calls, built from its parts; the keyword arguments are fields of the config."""
    train_loss, eval_loss = loss
    num_logits, on_cpu = model.spec.num_logits, mesh.devices.flat[0].platform == "cpu"
    preprocess_batch = create_preprocess_batch(
        inputs, precision=precision, mixup=mixup, cutmix=cutmix, num_logits=num_logits
    )
    train_step = partial(
        steps.train_step,
        graphdef=model.graphdef,
        tx=optimizer.tx,
        loss=train_loss,
        preprocess=preprocess_batch,
        seed=seed,
        axis_name=parallel.AXIS,
        ema_decay=ema_decay,
        is_frozen=model.is_frozen,
        accumulate_steps=accumulate_steps,
        unroll=on_cpu,
    )
    eval_step = partial(
        steps.eval_step,
        graphdef=model.graphdef,
        measure=partial(metrics.loss_and_error_sums, loss=eval_loss),
        normalize=partial(inputs.preprocessing.normalize, dtype=DTYPES[precision]),
        axis_name=parallel.AXIS,
    )
    resident = keep_on_device(on_device, inputs.splits.train)
    create_state = partial(create_run_state, model, optimizer.tx, seed=seed, ema=ema_decay > 0)
    train_chunk = partial(steps.train_chunk, step=train_step, unroll=on_cpu)
    state_specs = parallel.tower_specs(partial(jax.eval_shape, create_state), model.tower_axes)
    param_specs = parallel.tower_specs(lambda: model.spec.shapes()["params"], model.tower_axes)
    return Steps(
        create_state=create_state,
        preprocess_batch=preprocess_batch,
        train_chunk=parallel.parallel_train_chunk(train_chunk, mesh, state_specs),
        eval_step=parallel.parallel_eval_step(eval_step, mesh, param_specs),
        resident=resident,
        steps_per_call=steps_per_call or (32 if resident and not on_cpu else 1),
        # Padded rows are masked, so the result does not depend on this size.
        eval_batch_size=math.ceil(eval_batch_size / parallel.data_size(mesh)) * parallel.data_size(mesh),
        state_specs=state_specs,
    )


def create_preprocess_batch(
    inputs: Inputs, *, precision: str, mixup: float, cutmix: float, num_logits: int
) -> steps.PreprocessFn:
    """The preprocessing of a batch in a training step: normalize, augment, mix."""
    return partial(
        steps.preprocess_batch,
        normalize=partial(inputs.preprocessing.normalize, dtype=DTYPES[precision]),
        augment=inputs.augment,
        mix=create_mix(mixup=mixup, cutmix=cutmix, num_logits=num_logits),
    )


def check_splits(splits: Splits, config: ConfigDict) -> None:
    """Raises InputError if the training set is smaller than a batch, or the plateau lacks a validation error."""
    loader.steps_per_epoch(len(splits.train), config.batch_size)  # raises if there is not one whole batch
    for field, lacking in (
        ("dataset.validation_fraction", splits.validation is None),
        ("eval.every_steps", not config.eval.every_steps),
    ):
        if config.schedule.name == "plateau" and lacking:
            raise InputError(f"schedule.name='plateau' needs val/top1_error at intervals: set {field} above 0")


def count_logits(config: ConfigDict, classes: tuple[str, ...]) -> int:
    """The number of logits: model.num_logits, or if unset, the number of classes. Two classes may share one logit."""
    logits = config.model.num_logits
    if len(classes) < 2:
        raise InputError(f"dataset {config.dataset.name!r} has {len(classes)} class (allowed: 2 or more)")
    if logits is None:
        return len(classes)
    if logits == 1 and len(classes) == 2 and config.loss.name == "softmax_cross_entropy":
        raise InputError("model.num_logits=1 needs a binary loss: loss.name='binary_cross_entropy_with_logits'")
    if logits != len(classes) and not (logits == 1 and len(classes) == 2):
        raise InputError(
            f"model.num_logits={logits}, but dataset {config.dataset.name!r} has {len(classes)} classes: labels would "
            f"be out of range (allowed: {len(classes)}, unset, or 1 for two classes)"
        )
    return logits


def check_optimizer(optimizer: Optimizer, model: Model) -> None:
    """Raises InputError if finetune.lr_multipliers names a part that the network does not have."""
    _, learned = partition(model.spec.shapes()["params"], model.is_frozen)
    jax.eval_shape(optimizer.tx.init, learned)


def check_parts(
    config: ConfigDict, model: Model, optimizer: Optimizer, mesh: parallel.Mesh, device_batch_size: int
) -> None:
    """Raises InputError if the parts do not fit together.

    The optimizer names a part of the network that is not there; or the batch cannot be split into groups, pairs and
    micro-batches, or one of them is too small.
    """
    check_optimizer(optimizer, model)
    check_bn_group(model.spec, device_batch_size)
    check_pairs(config, device_batch_size)
    bn_group, mixes = model.spec.options.get("bn_group"), bool(config.augment.mixup or config.augment.cutmix)
    check_accumulation(config.accumulate_steps, device_batch_size, bn_group=bn_group, mixes=mixes)
    micro_batch_size = config.batch_size // config.accumulate_steps
    check_batch_norm(model.spec, (model.graphdef, model.shapes), mesh, micro_batch_size, alone=bn_group == 1)


def check_pairs(config: ConfigDict, device_batch_size: int) -> None:
    """Raises InputError if mixup or CutMix, which mix pairs, is on and a device has an odd number of images."""
    if (config.augment.mixup or config.augment.cutmix) and device_batch_size % 2:
        raise InputError(
            f"augment.mixup and augment.cutmix mix pairs of images, but each device has {device_batch_size} per step: "
            f"choose a batch_size with an even number per device, such as {config.batch_size * 2}, or set both to 0"
        )


def keep_on_device(choice: str, source: Source) -> bool:
    """Whether to keep the training set on the device: by dataset.on_device, or for "auto" by its size."""
    small = isinstance(source, ArraySource) and source.images.nbytes <= DEVICE_BYTES
    if choice == "yes" and not isinstance(source, ArraySource):
        raise InputError("dataset.on_device='yes', but this data set is read from disk (allowed: 'auto', 'no')")
    return small if choice == "auto" else choice == "yes"


def resident_data(source: Source) -> dict[str, np.ndarray]:
    """The arrays of a training set that is kept on the device."""
    return source.gather(np.arange(len(source)))
