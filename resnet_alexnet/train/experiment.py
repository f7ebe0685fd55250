"""From a config to the parts of a run: the only room, with train.py, that reads config fields."""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from resnet_alexnet import losses, metrics, models, parallel, pretrained
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.sources import ProgressFn, Source, Splits, no_progress
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.files import is_guest
from resnet_alexnet.models.trace import freeze
from resnet_alexnet.paths import is_within, leaf_name, partition
from resnet_alexnet.pretrained.network import ModelSpec, weights_of
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train import finetune, inputs, steps
from resnet_alexnet.train.augmentation import DTYPES, create_augment, create_mix, create_normalize
from resnet_alexnet.train.optimizer import Optimizer, create_optimizer
from resnet_alexnet.train.state import TrainState, create_state

Leaves = dict[str, Any]  # arrays by the names of `TrainedModel.leaves`
ON_DEVICE = ("auto", "yes", "no")
DEVICE_BYTES = 2**30  # "auto" keeps a training set of up to 1 GiB on the device


@dataclass(frozen=True)
class Experiment:
    """Everything that a run needs, built and checked; nothing has been computed on a device yet.

    start: the arrays that the network takes from trained weights, by the names of `TrainedModel.leaves`; `create_state`
        wants them.
    is_frozen: of such a name, without "params/" or "batch_stats/": that training leaves it as it is.
    """

    splits: Splits
    spec: ModelSpec
    mesh: parallel.Mesh
    optimizer: Optimizer
    start: Leaves
    is_frozen: Callable[[str], bool]
    chance_loss: float
    resident: bool
    steps_per_call: int
    eval_batch_size: int
    create_state: Callable[..., TrainState]
    preprocess_batch: steps.PreprocessFn
    train_chunk: Callable[..., Any]
    eval_step: Callable[..., metrics.Sums]


def create_experiment(
    config: ConfigDict,
    devices: Sequence[jax.Device] | None = None,
    *,
    weights: Path | None = None,
    progress: ProgressFn = no_progress,
) -> Experiment:
    """Builds the parts of the run that `config` describes, on all devices or those given.

    Args:
        config: the config.
        devices: None for all.
        weights: where to find what finetune.weights names; None for there.
        progress: shows how far the reading of the data is.

    Raises:
        InputError: a field whose value is not allowed, does not fit another, or names data that is missing.
    """
    check_numbers(config)
    mesh = parallel.create_mesh(devices)
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    device_batch_size = parallel.device_batch_size(config.batch_size, mesh, field="batch_size")
    optimizer = create_optimizer(config)
    models.check_model(config.model.name)
    create_loss = partial(losses.create_loss, config.loss.name, reduction=config.loss.reduction)
    train_loss = create_loss(label_smoothing=config.loss.label_smoothing)
    spec, splits, start, covariance = _read(config, weights, progress)
    check_bn_group(spec, device_batch_size)
    is_frozen = partial(is_within, prefixes=config.finetune.frozen)
    forward = {"graphdef": _create_graphdef(config, spec, optimizer), "axis_name": parallel.AXIS}
    normalize = create_normalize(config, spec.preprocessing)
    preprocess_batch = partial(
        steps.preprocess_batch,
        normalize=normalize,
        augment=create_augment(config, spec.preprocessing, covariance),
        mix=create_mix(config, spec.num_classes, device_batch_size),
    )
    resident = keep_on_device(config.dataset.on_device, splits.train)
    train_step = partial(
        steps.train_step,
        tx=optimizer.tx,
        loss=train_loss,
        preprocess=preprocess_batch,
        ema_decay=config.optim.ema_decay,
        is_frozen=is_frozen,
        seed=config.seed,
        **forward,
    )
    chance_loss = losses.chance_loss(config.loss.name, spec.num_classes, reduction=config.loss.reduction)
    ema = config.optim.ema_decay > 0
    return Experiment(
        splits=splits,
        spec=spec,
        mesh=mesh,
        optimizer=optimizer,
        start=start,
        is_frozen=is_frozen,
        chance_loss=chance_loss,
        resident=resident,
        steps_per_call=config.steps_per_call or (32 if resident and not on_cpu else 1),
        # Results do not depend on it: padded rows are masked.
        eval_batch_size=math.ceil(config.eval.batch_size / mesh.size) * mesh.size,
        create_state=partial(_create_state, spec, optimizer.tx, is_frozen, seed=config.seed, ema=ema),
        preprocess_batch=preprocess_batch,
        train_chunk=parallel.parallel_train_chunk(partial(steps.train_chunk, step=train_step, unroll=on_cpu), mesh),
        eval_step=parallel.parallel_eval_step(
            partial(steps.eval_step, loss=create_loss(), normalize=normalize, **forward), mesh
        ),
    )


def _read(
    config: ConfigDict, weights: Path | None, progress: ProgressFn
) -> tuple[ModelSpec, Splits, Leaves, np.ndarray | None]:
    """What the network is, the data, the arrays to start from, and the covariance of the data's colors."""
    start, preprocessing, where = None, None, config.finetune.weights
    if where:
        named = config.model.name if is_guest(config.model.name) else None  # or a weight file of one is not read
        start = pretrained.load_network(weights or Path(where).expanduser(), model=named)
        finetune.check_options(start.spec, config.model.name, set_options(config), where=where)
        preprocessing = start.spec.preprocessing
        config = inputs.with_preprocessing(config, preprocessing)
    elif tuple(config.finetune.new_head) != (finetune.AUTO,):
        raise InputError(
            "finetune.new_head is set, but without finetune.weights all of the network is new: leave it out"
        )
    splits = inputs.read_splits(config, progress=progress)
    loader.steps_per_epoch(len(splits.train), config.batch_size)  # for its check
    for field, lacking in (
        ("dataset.validation_fraction", splits.validation is None),
        ("eval.every_steps", not config.eval.every_steps),
    ):
        if config.schedule.name == "plateau" and lacking:
            raise InputError(f"schedule.name='plateau' needs val/top1_error again and again: set {field} above 0")
    num_classes = count_logits(config, splits.train.classes)
    preprocessing, covariance = inputs.read_preprocessing(config, splits, preprocessing, progress=progress)
    spec = describe(config, preprocessing, num_classes, start and start.spec)
    if start is None:
        return spec, splits, {}, covariance
    anew = finetune.new_prefixes(start.spec, spec, config.finetune.new_head)
    return spec, splits, finetune.select_leaves(start, spec, anew, where=where), covariance


def _create_graphdef(config: ConfigDict, spec: ModelSpec, optimizer: Optimizer) -> nnx.GraphDef:
    """The network of the steps, its frozen layers marked; whatever names a part of it is checked here."""
    model, frozen = spec.abstract(), config.finetune.frozen
    finetune.check_frozen(model, frozen)
    freeze(model, frozen)
    _, learned = partition(weights_of(model)["params"], partial(is_within, prefixes=frozen))
    jax.eval_shape(optimizer.tx.init, learned)
    return nnx.graphdef(model)


def check_numbers(config: ConfigDict) -> None:
    """Raises InputError for a number that is out of range or a choice that does not exist."""
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
        "dataset.max_unreadable": 0,
    }
    below = {"augment.color_std": math.inf, "augment.mixup": math.inf, "augment.cutmix": math.inf, "optim.ema_decay": 1}

    def value(field: str) -> float:
        return functools.reduce(operator.getitem, field.split("."), config)

    for field, least in at_least.items():
        if not least <= value(field) <= most:
            raise InputError(f"{field} is {value(field)} (allowed: {least} to {most})")
    for field, limit in below.items():
        if not 0 <= value(field) < limit:
            raise InputError(f"{field} is {value(field)} (allowed: 0 up to, not including, {limit})")
    check_name("precision", config.precision, DTYPES)
    check_name("dataset.on_device", config.dataset.on_device, ON_DEVICE)


def count_logits(config: ConfigDict, classes: tuple[str, ...]) -> int:
    """model.num_logits, or the number of classes of the data; one logit stands for two classes."""
    logits = config.model.num_logits
    if len(classes) < 2:
        raise InputError(f"dataset {config.dataset.name!r} has {len(classes)} class (allowed: 2 or more)")
    if logits is None:
        return len(classes)
    if logits == 1 and len(classes) == 2 and config.loss.name == "softmax_cross_entropy":
        raise InputError("model.num_logits=1 wants a binary loss: loss.name='binary_cross_entropy_with_logits'")
    if logits != len(classes) and not (logits == 1 and len(classes) == 2):
        raise InputError(
            f"model.num_logits={logits}, but dataset {config.dataset.name!r} has {len(classes)} classes: labels would "
            "be out of range (allowed: as many, unset, or 1 for two classes)"
        )
    return logits


def set_options(config: ConfigDict) -> dict[str, Any]:
    """The options of the network that the config sets."""
    fixed = ("name", "num_logits")
    return {name: value for name, value in config.model.items() if value is not None and name not in fixed}


def describe(
    config: ConfigDict, preprocessing: Preprocessing, num_classes: int, start: ModelSpec | None = None
) -> ModelSpec:
    """What the network is: its options, those of `start` and those that the config sets; how its logits are scored."""
    return ModelSpec(
        model=config.model.name,
        options={**(start.options if start else {}), **set_options(config)},
        num_classes=num_classes,
        scores="softmax" if config.loss.name == "softmax_cross_entropy" else "sigmoid",
        preprocessing=preprocessing,
    )


def check_bn_group(spec: ModelSpec, device_batch_size: int) -> None:
    """Raises InputError where the images of a device do not fall into whole groups."""
    group = spec.options.get("bn_group")
    if isinstance(group, int) and group > 0 and device_batch_size % group:
        raise InputError(
            f"model.bn_group={group} does not divide the {device_batch_size} images of a device: "
            f"raise batch_size to a multiple of {group} a device, or lower model.bn_group"
        )


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
    spec: ModelSpec,
    tx: optax.GradientTransformationExtraArgs,
    is_frozen: Callable[[str], bool],
    start: Leaves | None = None,
    *,
    seed: int,
    ema: bool,
) -> TrainState:
    """To be traced, as creating a network eagerly is slow; `start` goes before what is initialized."""
    weights = weights_of(spec.create_model(nnx.Rngs(seed)))
    weights = jax.tree_util.tree_map_with_path(lambda path, leaf: (start or {}).get(leaf_name(path), leaf), weights)
    sums = metrics.zero_sums(spec.num_classes)
    _, learned = partition(weights["params"], is_frozen)
    return create_state(**weights, opt_state=tx.init(learned), sums=sums, ema=ema)
