"""Gradient accumulation: the update of the undivided batch, in less memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet import losses, metrics, parallel
from resnet_alexnet.errors import InputError
from resnet_alexnet.optim.sgd import sgd
from resnet_alexnet.paths import partition
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train import augment, steps
from resnet_alexnet.train.accumulation import accumulate, check_accumulation
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.state import TrainState, create_state
from tests.support import tiny
from tests.support.toy_nets import NormDropoutNet
from tests.support.trees import assert_trees_close

ONE, EIGHT = 1, 8
BATCH = 64
PREPROCESSING = Preprocessing(8, 1, np.full(1, 100, np.float32), np.full(1, 50, np.float32), ())
TREES = ("params", "batch_stats", "opt_state", "ema", "sums")


def mix(image, label, keys):
    return augment.mix(image, losses.targets(label, 10), keys, mixup=0.2, cutmix=1.0)


def create_chunk_step(devices, *, group=4, width=8, modern=True, **options):
    """(chunk step, create_state, mesh) of a toy network with everything that is random, averaged or frozen."""
    tx = sgd(0.1, momentum=0.9, weight_decay=1e-4, clip_norm=0.5 * modern)
    create = partial(NormDropoutNet, jax.random.key(0), group=group, width=width)

    def is_frozen(name):
        return modern and name.startswith("conv1")

    def init():
        model = create()
        params, batch_stats = (nnx.to_pure_dict(nnx.state(model, kind)) for kind in (nnx.Param, nnx.BatchStat))
        _, learned = partition(params, is_frozen)
        return create_state(params, batch_stats, tx.init(learned), metrics.zero_sums(10), ema=modern)

    normalize = partial(PREPROCESSING.normalize, dtype=jnp.float32)
    augmented = partial(augment.augment, pad=1, flip=True)
    weights = tuple(np.linspace(0.5, 1.5, 10).tolist()) if modern else None
    step = partial(
        steps.train_step,
        graphdef=nnx.graphdef(nnx.eval_shape(create)),
        tx=tx,
        loss=losses.create_loss("softmax_cross_entropy", label_smoothing=0.1, class_weights=weights),
        preprocess=partial(steps.preprocess_batch, normalize=normalize, augment=augmented, mix=mix if modern else None),
        seed=3,
        axis_name=parallel.AXIS,
        ema_decay=0.25 * modern,
        is_frozen=is_frozen,
        **options,
    )
    mesh = parallel.create_mesh(jax.devices()[:devices])
    return parallel.parallel_train_chunk(partial(steps.train_chunk, step=step, unroll=True), mesh), init, mesh


def run(devices, **options) -> TrainState:
    """The state after two steps."""
    chunk_step, init, mesh = create_chunk_step(devices, **options)
    state, rng = parallel.replicated(init, mesh), np.random.default_rng(0)
    for _ in range(2):
        image, label = rng.integers(0, 256, (1, BATCH, 8, 8, 1), np.uint8), rng.integers(0, 10, (1, BATCH), np.int32)
        state, _ = chunk_step(state, {}, parallel.split_batch({"image": image, "label": label}, mesh, axis=1))
    return state


def compiled(devices, **options):
    chunk_step, init, _ = create_chunk_step(devices, **options)
    shapes = {"image": ((1, BATCH, 8, 8, 1), jnp.uint8), "label": ((1, BATCH), jnp.int32)}
    chunk = {name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()}
    return chunk_step.lower(jax.eval_shape(init), {}, chunk).compile()


@pytest.fixture(scope="module")
def undivided():
    return run(ONE)


@pytest.mark.parametrize(
    ("devices", "accumulate_steps", "unroll"),
    [(ONE, 2, True), (EIGHT, 2, True), (ONE, 16, False), (EIGHT, 2, False)],
)
def test_micro_batches_give_the_state_of_the_undivided_batch(undivided, devices, accumulate_steps, unroll):
    state = run(devices, accumulate_steps=accumulate_steps, unroll=unroll)
    for name in TREES:
        assert_trees_close(getattr(undivided, name), getattr(state, name), rtol=2e-5)
    assert float(state.sums["count"]) == 2 * BATCH


def test_without_groups_a_micro_batch_is_normalized_as_a_device_is():
    one, two = run(ONE, group=None, modern=False, accumulate_steps=2), run(2, group=None, modern=False)
    for name in TREES:
        assert_trees_close(getattr(one, name), getattr(two, name), rtol=2e-5)


@pytest.mark.parametrize("unroll", [True, False])
def test_one_collective_of_the_same_bytes_and_less_memory(unroll):
    whole, divided = (
        compiled(EIGHT, modern=False, width=32, group=2, accumulate_steps=n, unroll=unroll) for n in (1, 4)
    )
    before, after = (
        [(c.kind, c.bytes, c.computation) for c in parallel.read_collectives(program.as_text() or "")]
        for program in (whole, divided)
    )
    assert before == after
    assert len(after) == 1
    needed = [program.memory_analysis().temp_size_in_bytes for program in (whole, divided)]
    assert needed[1] < 0.6 * needed[0]


def test_means_and_sums_worked_by_hand():
    values = jnp.arange(12.0)
    for unroll in (True, False):
        means, sums = accumulate(
            lambda x: (x.mean(), x.sum()), values, (jnp.float32(0), jnp.float32(0)), steps=3, unroll=unroll
        )
        assert (float(means), float(sums)) == (5.5, 66)


def test_the_field_reaches_the_step():
    counts = []
    for accumulate_steps in (1, 4):
        config = tiny.config(accumulate_steps=accumulate_steps, dataset__on_device="no")
        experiment = create_experiment(config, jax.devices()[:ONE])
        state = jax.eval_shape(experiment.steps.create_state)
        chunk = {
            "image": jax.ShapeDtypeStruct((1, 16, 8, 8, 1), jnp.uint8),
            "label": jax.ShapeDtypeStruct((1, 16), jnp.int32),
        }
        lowered = experiment.steps.train_chunk.lower(state, {}, chunk)
        counts.append(lowered.as_text().count("stablehlo.convolution"))
    assert counts[1] == 4 * counts[0] > 0


@pytest.mark.parametrize(
    ("accumulate_steps", "bn_group", "mixes", "message"),
    [
        (3, None, False, "accumulate_steps=3 does not divide the 16 images of a device into equal micro-batches "),
        (16, 4, False, "micro-batches with whole groups of 4 images for model.bn_group (allowed: 1, 2, 4)"),
        (16, "sync", True, "with whole groups of 2 images to mix (allowed: 1, 2, 4, 8)"),
        (32, 1, False, "(allowed: 1, 2, 4, 8, 16)"),
    ],
)
def test_micro_batches_that_do_not_fit_name_those_that_do(accumulate_steps, bn_group, mixes, message):
    with pytest.raises(InputError) as error:
        check_accumulation(accumulate_steps, 16, bn_group=bn_group, mixes=mixes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    check_accumulation(1, 16, bn_group=bn_group, mixes=mixes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"accumulate_steps": 0}, "accumulate_steps is 0 (allowed: 1 to"),
        ({"accumulate_steps": 4, "model__bn_group": 8}, "(allowed: 1, 2)"),
        ({"accumulate_steps": 16, "preprocess__image_size": 4, "augment__pad": 0}, "over 1 value per channel"),
        ({"accumulate_steps": 16, "augment__mixup": 0.2}, "of 2 images to mix"),
    ],
)
def test_bad_values_of_the_field(fields, message):
    with pytest.raises(InputError, match=r"accumulate_steps|normalization") as error:
        create_experiment(tiny.config(**fields), jax.devices()[:ONE])
    assert message in str(error.value)
