"""The training and evaluation steps: pure functions that take the name of the device axis, not a mesh.

A batch is {"image": uint8, "label": int32}, or {"index": int32} into a data set that is kept on the device.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int, Key, Num

from resnet_alexnet import metrics
from resnet_alexnet.paths import Tree, join, partition
from resnet_alexnet.train.accumulation import accumulate
from resnet_alexnet.train.state import NEVER, TrainState

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}  # the compute dtype by config.precision

Batch = dict[str, jax.Array]
NormalizeFn = Callable[[jax.Array], jax.Array]  # uint8 images -> normalized images in the compute dtype
AugmentFn = Callable[[jax.Array, jax.Array], jax.Array]  # normalized images, one key per image -> augmented images
# augmented images, labels, one key per image -> mixed images, rows of class weights
MixFn = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
# batch, keys to augment with, keys to mix with -> images, labels; see `preprocess_batch`
PreprocessFn = Callable[[Batch, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
LossFn = Callable[[jax.Array, jax.Array], jax.Array]  # logits, labels -> one loss per image
MeasureFn = Callable[[jax.Array, jax.Array, jax.Array], metrics.Sums]  # logits, labels, mask -> sums over images


def image_keys(seed: int, step: Int[Array, ""], rows: Int[Array, " images"]) -> Key[Array, "purposes images"]:
    """Three keys per image, to augment, to run the model and to mix: derived from seed, step and row in the batch.

    `rows` are rows of the global batch, so the keys do not depend on the number of devices.
    """
    step_key = jax.random.fold_in(jax.random.key(seed), step)
    keys = jax.vmap(lambda row: jax.random.split(jax.random.fold_in(step_key, row), 3))(rows)
    return jnp.moveaxis(keys, 1, 0)


def preprocess_batch(
    batch: Batch,
    augment_keys: Key[Array, " images"],
    mix_keys: Key[Array, " images"],
    *,
    normalize: NormalizeFn,
    augment: AugmentFn,
    mix: MixFn | None,
) -> tuple[Num[Array, "images height width channels"], Num[Array, "images ..."]]:
    """The inputs of a training step: normalized, augmented and mixed images, and their labels or class weights."""
    image, label = augment(normalize(batch["image"]), augment_keys), batch["label"]
    return (image, label) if mix is None else mix(image, label, mix_keys)


def moving_average(average: Tree, values: Tree, step: Int[Array, ""], decay: float) -> Tree:
    """Updates an exponential moving average: decay * average + (1 - decay) * values. `step` counts from 0.

    Early on the decay is smaller, (1 + step) / (10 + step), so that the initial values are soon forgotten.

    Source: Polyak and Juditsky 1992, averaging; TensorFlow's ExponentialMovingAverage, the smaller decay early on.
    """
    share = jnp.maximum(1.0 - decay, 9.0 / (10.0 + step))
    return jax.tree.map(lambda a, v: a + share * (v - a), average, values)


def gradients(
    rows: tuple[Batch, *tuple[jax.Array, ...]],
    *,
    trained: Tree,
    frozen: Tree,
    batch_stats: Tree,
    graphdef: nnx.GraphDef,
    loss: LossFn,
    preprocess: PreprocessFn,
    is_frozen: Callable[[str], bool],
) -> tuple[tuple[Float[Array, ""], Tree, Tree], metrics.Sums]:
    """What a step takes from some rows of a batch on this device: the mean loss, its gradient, and the statistics.

    Args:
        rows: {"image", "label"}, and the three keys of each image.
        trained: the parameters to differentiate with respect to.
        frozen: the other parameters.
        batch_stats: the running statistics.
        graphdef: the graph definition of the network.
        loss: logits and labels -> one loss per image.
        preprocess: rows -> images and labels.
        is_frozen: name of a leaf -> whether it is frozen.

    Returns:
        (loss, batch_stats, gradient), which are means over the images or their groups, and the sums of the metrics.
    """
    batch, augment_keys, model_keys, mix_keys = rows
    image, label = preprocess(batch, augment_keys, mix_keys)

    def objective(trained: Tree) -> tuple[Float[Array, ""], tuple[Tree, metrics.Sums]]:
        model = nnx.merge(graphdef, join(trained, frozen), batch_stats, copy=True)
        logits = model(image, train=True, rngs=model_keys).astype(jnp.float32)
        losses = loss(logits, label)
        _, moved = partition(nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)), is_frozen)
        sums = metrics.batch_sums(logits, label, jnp.ones(len(image), bool), losses)
        return jnp.mean(losses), (moved, sums)

    (value, (moved, sums)), grads = jax.value_and_grad(objective, has_aux=True)(trained)
    return (value, moved, grads), sums


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    graphdef: nnx.GraphDef,
    tx: optax.GradientTransformationExtraArgs,
    loss: LossFn,
    preprocess: PreprocessFn,
    seed: int,
    axis_name: str,
    ema_decay: float = 0.0,
    is_frozen: Callable[[str], bool] = lambda name: False,
    accumulate_steps: int = 1,
    unroll: bool = True,
) -> TrainState:
    """One optimizer step on this device's share of the global batch, {"image", "label"}.

    The new state is equal on all devices. `is_frozen` takes the name of a leaf of params or batch_stats and returns
    whether the leaf is frozen. The loss is not differentiated with respect to frozen parameters, so no part of their
    gradient is computed, and the optimizer does not see them.

    The share is split into `accumulate_steps` micro-batches, see `accumulate`; `unroll` unrolls the loop over them.
    Running statistics move once, by the mean over the groups of all micro-batches.
    """
    images = batch["image"].shape[0]
    rows = lax.axis_index(axis_name) * images + jnp.arange(images)
    keys = image_keys(seed, state.step, rows)
    frozen, trained = partition(state.params, is_frozen)
    frozen_stats, trained_stats = partition(state.batch_stats, is_frozen)
    # The pmean below is the only collective of the step. The gradient with respect to a device-varying copy stays
    # local until then. Without the cast, shard_map sums the gradients itself, and their mean is N times too large.
    local = lax.pcast(trained, axis_name, to="varying")

    function = partial(
        gradients,
        trained=local,
        frozen=frozen,
        batch_stats=state.batch_stats,
        graphdef=graphdef,
        loss=loss,
        preprocess=preprocess,
        is_frozen=is_frozen,
    )
    if accumulate_steps == 1:
        means, sums = function((batch, *keys))
    else:
        zeros = jax.tree.map(jnp.zeros_like, ((jnp.float32(0), trained_stats, trained), state.sums))
        zeros = lax.pcast(zeros, axis_name, to="varying")
        means, sums = accumulate(function, (batch, *keys), zeros, steps=accumulate_steps, unroll=unroll)
    (value, batch_stats, grads), sums = lax.pmean((means, sums), axis_name)
    sums = jax.tree.map(lambda mean: mean * lax.axis_size(axis_name), sums)

    train_error = 100 * sums["top1_errors"] / sums["count"]
    updates, opt_state = tx.update(grads, state.opt_state, trained, train_error=train_error)
    params = join(frozen, optax.apply_updates(trained, updates))
    batch_stats = join(frozen_stats, batch_stats)
    ema = state.ema
    if ema_decay:
        ema = moving_average(ema, {"params": params, "batch_stats": batch_stats}, state.step, ema_decay)
    first_nonfinite = (state.nonfinite_step == NEVER) & ~jnp.isfinite(value)
    return state.replace(
        step=state.step + 1,
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        ema=ema,
        sums=metrics.add_sums(state.sums, sums),
        nonfinite_step=jnp.where(first_nonfinite, state.step, state.nonfinite_step),
    )


def train_chunk(
    state: TrainState, data: Batch, chunk: Batch, *, step: Callable[[TrainState, Batch], TrainState], unroll: bool
) -> tuple[TrainState, Int[Array, ""]]:
    """Runs `step` on each batch of a chunk, whose leading axis is the step.

    Args:
        state: the state before the first of the steps.
        data: the training set on the device; empty if chunks hold images.
        chunk: the batches.
        step: the training step.
        unroll: unroll the loop. XLA's CPU backend runs the gradient of a convolution in a loop body tens of times
            slower.

    Returns:
        The new state, and a copy of its step count to wait for: the state itself is donated to the next call.
    """

    def one(state: TrainState, batch: Batch) -> tuple[TrainState, None]:
        if "index" in batch:
            batch = {name: jnp.take(array, batch["index"], axis=0) for name, array in data.items()}
        return step(state, batch), None

    if unroll:
        for i in range(jax.tree.leaves(chunk)[0].shape[0]):
            state, _ = one(state, jax.tree.map(lambda x, i=i: x[i], chunk))
    else:
        state, _ = lax.scan(one, state, chunk)
    return state, state.step


def eval_step(
    params: Tree,
    batch_stats: Tree,
    batch: Batch,
    *,
    graphdef: nnx.GraphDef,
    measure: MeasureFn,
    normalize: NormalizeFn,
    axis_name: str,
) -> metrics.Sums:
    """The sums that `measure` computes over the images whose batch["mask"] is true, on all devices."""
    model: Any = nnx.merge(graphdef, params, batch_stats)
    logits: Num[Array, "batch classes"] = model(normalize(batch["image"])).astype(jnp.float32)
    return lax.psum(measure(logits, batch["label"], batch["mask"]), axis_name)
