"""The network of a run: its spec, the trained weights that it starts from, and its frozen layers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from resnet_alexnet import metrics, models, parallel
from resnet_alexnet.errors import InputError
from resnet_alexnet.models.resnet import ImageNetStem
from resnet_alexnet.models.stacked import stack, stack_blocks, unstack
from resnet_alexnet.models.trace import freeze
from resnet_alexnet.paths import Tree, is_within, partition
from resnet_alexnet.pretrained.network import ModelSpec, weights_of
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train.finetune import Leaves, Start, check_frozen, new_prefixes, select_leaves
from resnet_alexnet.train.optimizer import parse_lr_multipliers
from resnet_alexnet.train.state import TrainState, create_state

SMALLEST_PHOTOGRAPH = 64  # pixels: smaller images are better served by the networks for CIFAR
TOTAL_STRIDE = 32  # of the residual networks for ImageNet


@dataclass(frozen=True)
class Model:
    """The network of a run.

    Attributes:
        spec: the description of the network.
        graphdef: the graph definition for steps, with frozen layers marked, and equal blocks stacked if `scan` is on.
        shapes: of its weights, as `weights_of` gives them.
        start: arrays from trained weights, by the names of `TrainedModel.leaves`; empty for random weights.
        is_frozen: (name of an array, without "params/" or "batch_stats/") -> whether the array is frozen.
        notes: what to say of the network when a run starts, see `size_notes`.
        tower_axes: the axis of each parameter along which it is split over the towers of a mesh, by its name; empty if
            the whole network is on each device.
    """

    spec: ModelSpec
    graphdef: nnx.GraphDef
    shapes: Mapping[str, Tree]
    start: Leaves
    is_frozen: Callable[[str], bool]
    notes: tuple[str, ...]
    tower_axes: Mapping[str, int]


def create_model(
    model: Mapping[str, Any],
    preprocessing: Preprocessing,
    *,
    num_logits: int,
    scores: str,
    start: Start | None,
    finetune: Mapping[str, Any],
    towers: int = 1,
) -> Model:
    """Builds the network of a run and checks the paths in `finetune`.

    Args:
        model: the group of the config.
        preprocessing: the preprocessing of its images.
        num_logits: logits per image.
        scores: how logits become probabilities, see `ModelSpec`.
        start: the trained network to start from. Options that `model` leaves unset are taken from it.
        finetune: the group of the config.
        towers: devices over which one copy of the network is split, 1 or 2.

    Raises:
        InputError: the network does not have an option of `model` or a path of `finetune`, or it cannot be split.
    """
    options = {**(start.network.spec.options if start else {}), **set_options(model)}
    spec = ModelSpec(model["name"], options, num_logits, scores, preprocessing)
    leaves: Leaves = {}
    if start is not None:
        new = new_prefixes(start.network, spec, finetune["new_head"])
        leaves = select_leaves(start.network, spec, new, where=start.where)
    module, frozen = spec.abstract(), tuple(finetune["frozen"])
    check_frozen(module, frozen)
    freeze(module, frozen)
    stack_blocks(module, apart=(*frozen, *parse_lr_multipliers(finetune["lr_multipliers"])))
    if towers == 2:
        module.split_towers(parallel.TOWER)
    return Model(
        spec,
        nnx.graphdef(module),
        weights_of(module),
        leaves,
        partial(is_within, prefixes=frozen),
        size_notes(spec),
        module.tower_axes if towers == 2 else {},
    )


def check_towers(towers: int, name: str, *, clip_norm: float) -> None:
    """Raises InputError if mesh.towers is 2 for a network or an optimizer that cannot be split."""
    if towers != 2:
        return
    if not models.tower_axes(name):
        able = ", ".join(model for model in models.MODELS if models.tower_axes(model))
        raise InputError(f"mesh.towers=2 with model.name={name!r} (allowed: {able}, which has two towers)")
    if clip_norm:  # no device has the whole gradient
        raise InputError(f"mesh.towers=2 with optim.clip_norm={clip_norm} (allowed: 0, for none; or mesh.towers=1)")


def size_notes(spec: ModelSpec) -> tuple[str, ...]:
    """A note if the images are so small that little is left of them behind a stem for photographs."""
    size = spec.preprocessing.image_size
    if size >= SMALLEST_PHOTOGRAPH or not isinstance(getattr(spec.abstract(), "stem", None), ImageNetStem):
        return ()
    last = -(-size // TOTAL_STRIDE)
    small = "cifar_plain20" if spec.model.startswith("plain") else "cifar_resnet20"
    return (
        f"note: {spec.model} is a network for images of 224 pixels: of {size} pixels, its 7x7 convolution and pooling "
        f"leave {-(-size // 4)}, its last stage {last}; the networks for small images are those for CIFAR, such as "
        f"--config.model.name={small}",
    )


def set_options(model: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the network that are set in the group `model` of the config."""
    fixed = ("name", "num_logits")
    return {name: value for name, value in model.items() if value is not None and name not in fixed}


def create_run_state(
    model: Model, tx: optax.GradientTransformationExtraArgs, start: Leaves | None = None, *, seed: int, ema: bool
) -> TrainState:
    """The state before the first step, with the arrays of `start` in place of random ones."""
    weights = stack({**unstack(model.spec.initial_weights(seed)), **(start or {})}, model.shapes)
    sums = metrics.zero_sums(model.spec.num_logits)
    _, learned = partition(weights["params"], model.is_frozen)
    return create_state(**weights, opt_state=tx.init(learned), sums=sums, ema=ema)


def check_batch_norm(
    spec: ModelSpec,
    program: tuple[nnx.GraphDef, Mapping[str, Tree]],
    mesh: parallel.Mesh,
    batch_size: int,
    *,
    alone: bool = False,
) -> None:
    """Raises InputError, which names the layer, if one normalizes each channel of a batch over a single value.

    Only the shapes of a training step are computed, and these only if images are normalized one by one.

    Args:
        spec: the network.
        program: its graph definition, with the options that it is trained with, and the shapes of its weights.
        mesh: the devices.
        batch_size: images per step over all devices.
        alone: whether images are normalized one by one in a larger batch.
    """
    if parallel.TOWER in mesh.shape or (batch_size > mesh.size and not alone):  # a network of towers has none
        return

    def forward(params: Tree, batch_stats: Tree, batch: dict[str, jax.Array]) -> jax.Array:
        model: Any = nnx.merge(program[0], params, batch_stats, copy=True)
        image = batch["image"]
        return model(image, train=True, rngs=jax.random.split(jax.random.key(0), len(image)))

    size, shapes = spec.preprocessing.image_size, program[1]
    image = jax.ShapeDtypeStruct((batch_size, size, size, spec.preprocessing.channels), jnp.float32)
    jax.eval_shape(parallel.parallel_rows(forward, mesh), shapes["params"], shapes["batch_stats"], {"image": image})


def check_bn_group(spec: ModelSpec, device_batch_size: int) -> None:
    """Raises InputError unless the images of a device are a whole number of ghost batches."""
    group = spec.options.get("bn_group")
    if isinstance(group, int) and group > 0 and device_batch_size % group:
        raise InputError(
            f"model.bn_group={group} does not divide the {device_batch_size} images of a device: "
            f"raise batch_size to a multiple of {group} per device, or lower model.bn_group"
        )
