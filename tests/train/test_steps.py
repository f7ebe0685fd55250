"""The training step: one result on any number of devices, one collective, the update worked by hand."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from resnet_alexnet import losses, metrics, models, parallel
from resnet_alexnet.models.initializers import he_normal
from resnet_alexnet.models.layers import Convolution, Linear
from resnet_alexnet.models.normalization import BatchNorm
from resnet_alexnet.optim.sgd import sgd
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train import augment, steps
from resnet_alexnet.train.experiment import create_experiment, resident_data
from resnet_alexnet.train.state import NEVER, create_state
from tests.support import kernels, tiny
from tests.support.toy_nets import DropoutNet
from tests.support.trees import assert_trees_close, assert_trees_equal

ONE, EIGHT = 1, 8


class EvaluationModeNorm(nnx.Module):
    """A ResNet-8 whose BatchNorm stays in evaluation mode while it trains."""

    def __init__(self, key):
        self.net = models.create_model("cifar_resnet8", num_classes=10, image_size=8, channels=1, rngs=nnx.Rngs(key))

    def __call__(self, image, *, train=False, rngs=None):
        return self.net(image, train=False)


PREPROCESSING = Preprocessing(8, 1, np.float32([100]), np.float32([50]), ())


def step_of(create, tx=None, *, loss=None, dtype=jnp.float32, pad=1, flip=True, basis=None, mix=None, ema_decay=0.0):
    """(init, train_step) of a network, with the tiny recipe's other parts."""
    tx = tx or sgd(0.1, momentum=0.9, weight_decay=1e-4)

    def init():
        model = create()
        params, batch_stats = (nnx.to_pure_dict(nnx.state(model, kind)) for kind in (nnx.Param, nnx.BatchStat))
        return create_state(params, batch_stats, tx.init(params), metrics.zero_sums(10), ema=ema_decay > 0)

    step = partial(
        steps.train_step,
        graphdef=nnx.graphdef(nnx.eval_shape(create)),
        tx=tx,
        loss=loss or losses.create_loss("softmax_cross_entropy"),
        preprocess=partial(
            steps.preprocess_batch,
            normalize=partial(PREPROCESSING.normalize, dtype=dtype),
            augment=partial(augment.augment, pad=pad, flip=flip, basis=basis),
            mix=mix,
        ),
        seed=3,
        axis_name=parallel.AXIS,
        ema_decay=ema_decay,
    )
    return init, step


def run_steps(init, step, devices, batches):
    mesh = parallel.create_mesh(jax.devices()[:devices])
    state = parallel.replicated(init, mesh)
    chunk_step = parallel.parallel_train_chunk(partial(steps.train_chunk, step=step, unroll=True), mesh)
    for batch in batches:
        chunk = {name: array[None] for name, array in batch.items()}
        state, _ = chunk_step(state, {}, parallel.split_batch(chunk, mesh, axis=1))
    return state


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    return [
        {"image": rng.integers(0, 256, (16, 8, 8, 1), np.uint8), "label": rng.integers(0, 10, 16).astype(np.int32)}
        for _ in range(3)
    ]


@pytest.mark.parametrize("net", [DropoutNet, EvaluationModeNorm])
def test_eight_devices_give_the_state_of_one(net, batches):
    init, step = step_of(lambda: net(jax.random.key(0)))
    one, eight = (run_steps(init, step, devices, batches) for devices in (ONE, EIGHT))
    assert_trees_close(one.params, eight.params, rtol=1e-5)
    assert_trees_close(one.opt_state, eight.opt_state, rtol=1e-5)
    assert_trees_close(one.sums, eight.sums, rtol=1e-6)


@pytest.fixture(scope="module")
def grouped():
    """The tiny run with BatchNorm in groups of two images, on one device and on eight."""
    config = tiny.config(model__bn_group=2)
    with kernels.fused():
        experiments = {n: create_experiment(config, jax.devices()[:n]) for n in (ONE, EIGHT)}
    return config, experiments


def test_eight_devices_give_the_state_of_one_with_group_batch_norm(grouped):
    config, experiments = grouped
    one, eight = (tiny.train(experiments[n], config, steps=3) for n in (ONE, EIGHT))
    assert_trees_close(one.params, eight.params, rtol=1e-5)
    assert_trees_close(one.batch_stats, eight.batch_stats, rtol=1e-5)
    assert float(eight.sums["count"]) == 3 * 16


def test_synchronized_batch_norm_on_eight_devices_is_whole_batch_norm_on_one(batches):
    def state(group, devices):
        def create():
            return models.create_model(
                "cifar_resnet8", num_classes=10, image_size=8, channels=1, rngs=nnx.Rngs(0), bn_group=group
            )

        return run_steps(*step_of(create), devices, batches)

    whole, sync, replica = state(None, ONE), state("sync", EIGHT), state(None, EIGHT)
    assert_trees_close(whole.params, sync.params, rtol=1e-4)
    assert_trees_close(whole.batch_stats, sync.batch_stats, rtol=1e-4)
    with pytest.raises(AssertionError):
        assert_trees_close(whole.batch_stats, replica.batch_stats, rtol=1e-2)


def compiled_text(experiment, config):
    state = jax.eval_shape(experiment.steps.create_state)
    data = jax.eval_shape(lambda: resident_data(experiment.inputs.splits.train))
    chunk = {"index": jax.ShapeDtypeStruct((1, config.batch_size), jnp.int32)}
    return experiment.steps.train_chunk.lower(state, data, chunk).compile().as_text()


def all_reduces(text):
    """(computation, bytes of the operands) of every all-reduce in a compiled program."""
    computation, found = "", []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            computation = line.split()[0]
        match = re.search(r"= (.*?) all-reduce(?:-start)?\(", line)
        if match:
            shapes = re.findall(r"(f32|bf16|s32)\[([\d,]*)\]", match[1])
            elements = [np.prod([int(n) for n in dims.split(",") if n], dtype=int) for _, dims in shapes]
            found.append(
                (
                    computation,
                    sum(n * (2 if kind == "bf16" else 4) for n, (kind, _) in zip(elements, shapes, strict=True)),
                )
            )
    return found


def test_the_step_has_one_all_reduce_in_the_entry_with_the_parameters_bytes(grouped):
    config, experiments = grouped
    state = jax.eval_shape(experiments[EIGHT].steps.create_state)
    parameter_bytes, statistics_bytes = (
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
        for tree in (state.params, state.batch_stats)
    )
    found = all_reduces(compiled_text(experiments[EIGHT], config))
    assert len(found) == 1
    computation, size = found[0]
    assert computation == "ENTRY"
    assert parameter_bytes + statistics_bytes <= size <= 1.01 * parameter_bytes + statistics_bytes


def test_synchronized_batch_norm_adds_collectives_for_every_layer():
    config = tiny.config(model__bn_group="sync")
    experiment = create_experiment(config, jax.devices()[:EIGHT])
    layers = len(jax.tree.leaves(jax.eval_shape(experiment.steps.create_state).batch_stats)) // 2
    assert len(all_reduces(compiled_text(experiment, config))) > layers


def test_several_steps_a_call_are_bitwise_single_steps(grouped):
    config, experiments = grouped
    single = tiny.train(experiments[ONE], config, steps=4)
    chunked = tiny.train(experiments[ONE], config, steps=4, steps_per_call=4)
    assert_trees_equal(single, chunked)


def test_scanned_steps_are_the_unrolled_ones(batches):
    init, step = step_of(lambda: DropoutNet(jax.random.key(0)))
    mesh = parallel.create_mesh(jax.devices()[:ONE])
    chunk = {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
    states = [
        parallel.parallel_train_chunk(partial(steps.train_chunk, step=step, unroll=unroll), mesh)(
            parallel.replicated(init, mesh), {}, parallel.split_batch(chunk, mesh, axis=1)
        )[0]
        for unroll in (True, False)
    ]
    assert_trees_close(states[0].params, states[1].params, rtol=1e-6)


def test_streamed_and_resident_data_give_the_same_state(grouped):
    config, experiments = grouped
    resident = tiny.train(experiments[ONE], config, steps=3)
    streamed = tiny.train(experiments[ONE], config, steps=3, resident=False)
    assert_trees_equal(resident, streamed)


def test_the_state_is_donated(grouped):
    config, experiments = grouped
    state = parallel.replicated(experiments[ONE].steps.create_state, experiments[ONE].mesh)
    tiny.train(experiments[ONE], config, steps=1, state=state)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_one_step_is_the_papers_update_worked_by_hand(batches):
    batch = batches[0]
    create = partial(DropoutNet, jax.random.key(0))
    init, step = step_of(create, sgd(0.1, momentum=0.9, weight_decay=0.01), pad=0, flip=False)
    mesh = parallel.create_mesh(jax.devices()[:ONE])
    before = jax.device_get(parallel.replicated(init, mesh).params)
    # The dropout keys of the step, by its own rule: from the seed, the step and the row alone.
    step_key = jax.random.fold_in(jax.random.key(3), 0)
    keys = jnp.stack([jax.random.split(jax.random.fold_in(step_key, row))[1] for row in range(16)])
    image = (batch["image"].astype(np.float32) - 100) / 50

    def objective(params):
        model = nnx.merge(nnx.graphdef(nnx.eval_shape(create)), params)
        log_probabilities = jax.nn.log_softmax(model(image, train=True, rngs=keys))
        return -jnp.mean(log_probabilities[np.arange(16), batch["label"]])

    expected = jax.tree.map(lambda w, g: w - 0.1 * (g + 0.01 * w), before, jax.grad(objective)(before))
    assert_trees_close(expected, run_steps(init, step, ONE, [batch]).params, rtol=1e-5)


def test_bfloat16_computes_with_float32_parameters_statistics_and_loss(grouped):
    config = tiny.config(precision="bfloat16", model__bn_group=2)
    experiment = create_experiment(config, jax.devices()[:ONE])
    state = tiny.train(experiment, config, steps=3)
    floating = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype for leaf in floating} == {jnp.dtype(jnp.float32)}
    assert "bf16[" in compiled_text(experiment, config)
    float32 = tiny.train(grouped[1][ONE], grouped[0], steps=3)
    losses = [float(s.sums["loss"] / s.sums["count"]) for s in (state, float32)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]


def test_the_first_nonfinite_loss_is_remembered(batches):
    init, step = step_of(lambda: DropoutNet(jax.random.key(0)), sgd(1e38, momentum=0.0))
    assert int(run_steps(init, step, ONE, batches[:1]).nonfinite_step) == NEVER
    assert int(run_steps(init, step, ONE, batches).nonfinite_step) == 1


def test_the_optimizer_is_given_the_error_of_the_global_batch(batches):
    seen = optax.GradientTransformationExtraArgs(
        lambda params: jnp.zeros(()), lambda updates, state, params=None, *, train_error, **_: (updates, train_error)
    )
    init, step = step_of(lambda: DropoutNet(jax.random.key(0)), optax.with_extra_args_support(seen))
    one, eight = (run_steps(init, step, devices, batches[:1]) for devices in (ONE, EIGHT))
    assert float(one.opt_state) == pytest.approx(100 * float(one.sums["top1_errors"]) / 16)
    assert float(eight.opt_state) == pytest.approx(float(one.opt_state))


class NormNet(nnx.Module):
    """A convolution and BatchNorm in groups of two images."""

    def __init__(self, key):
        keys = jax.random.split(key, 2)
        self.conv = Convolution(3, 8, 3, padding=(1, 1), kernel_init=he_normal(), key=keys[0])
        self.norm = BatchNorm(8, group=2)
        self.fc = Linear(8, 10, kernel_init=he_normal(), bias_init=jax.nn.initializers.zeros, key=keys[1])

    def __call__(self, image, *, train=False, rngs=None):
        return self.fc(jnp.mean(jax.nn.relu(self.norm(self.conv(image), train=train)), (1, 2)))


def modern_mix(image, label, keys):
    return augment.mix(image, losses.targets(label, 10), keys, mixup=0.2, cutmix=1.0)


@pytest.fixture(scope="module")
def modern():
    """A step with all that came after the papers."""
    return step_of(
        lambda: NormNet(jax.random.key(0)),
        sgd(0.1, momentum=0.9, weight_decay=1e-4, clip_norm=0.5),
        loss=losses.create_loss("softmax_cross_entropy", label_smoothing=0.1),
        basis=np.diag([0.1, 0.2, 0.3]),
        mix=modern_mix,
        ema_decay=0.25,
    )


@pytest.fixture(scope="module")
def colored():
    rng = np.random.default_rng(0)
    return [
        {"image": rng.integers(0, 256, (16, 8, 8, 3), np.uint8), "label": rng.integers(0, 10, 16).astype(np.int32)}
        for _ in range(5)
    ]


def test_eight_devices_give_the_state_of_one_with_color_mixing_smoothing_clipping_and_averages(modern, colored):
    one, eight = (run_steps(*modern, devices, colored[:3]) for devices in (ONE, EIGHT))
    for name in ("params", "batch_stats", "opt_state", "ema", "sums"):
        assert_trees_close(getattr(one, name), getattr(eight, name), rtol=1e-5)
    for leaf in jax.tree.leaves(eight.ema):
        copies = [np.asarray(shard.data).tobytes() for shard in leaf.addressable_shards]
        assert len(copies) == EIGHT
        assert len(set(copies)) == 1


def test_they_add_no_collective(modern, colored):
    init, step = modern
    mesh, state = parallel.create_mesh(), jax.eval_shape(init)
    chunk = jax.eval_shape(lambda: {name: array[None] for name, array in colored[0].items()})
    chunk_step = parallel.parallel_train_chunk(partial(steps.train_chunk, step=step, unroll=True), mesh)
    ((computation, size),) = all_reduces(chunk_step.lower(state, {}, chunk).compile().as_text())
    parameters = sum(leaf.size for leaf in jax.tree.leaves((state.params, state.batch_stats)))
    assert computation == "ENTRY"
    assert size == 4 * (parameters + 1 + len(state.sums))  # and the loss


def test_the_moving_average_is_that_of_a_slow_loop_over_the_steps(modern, colored):
    init, step = modern
    mesh = parallel.create_mesh(jax.devices()[:ONE])
    chunk_step = parallel.parallel_train_chunk(partial(steps.train_chunk, step=step, unroll=True), mesh)
    state = parallel.replicated(init, mesh)
    values = lambda state: jax.device_get({"params": state.params, "batch_stats": state.batch_stats})  # noqa: E731
    expected = jax.tree.map(lambda leaf: leaf.astype(np.float64), values(state))
    assert_trees_equal(state.ema, values(state))
    for batch, decay in zip(colored, [1 / 10, 2 / 11, 0.25, 0.25, 0.25], strict=True):  # the early ones are less
        chunk = {name: array[None] for name, array in batch.items()}
        state, _ = chunk_step(state, {}, parallel.split_batch(chunk, mesh, axis=1))
        expected = jax.tree.map(lambda a, v, d=decay: d * a + (1 - d) * v, expected, values(state))
        assert_trees_close(expected, state.ema, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_mixed_steps_loss_and_errors_worked_by_hand(batches, dtype):
    create = partial(DropoutNet, jax.random.key(4))  # one whose answers differ

    def mix(image, label, keys):
        return augment.mix(image, losses.targets(label, 10), keys, mixup=1.0)

    step_key = jax.random.fold_in(jax.random.key(3), 0)
    keys = [jax.random.split(jax.random.fold_in(step_key, row), 3) for row in range(16)]  # augment, model, mixing
    pair_keys = [jax.random.split(keys[row - row % 2][2], 3) for row in range(16)]  # choice, share, box
    beta = jax.jit(jax.vmap(lambda key: jax.random.beta(key, 1.0, 1.0)))
    share = np.array(beta(jnp.stack([key[1] for key in pair_keys])))
    partner = np.arange(16) ^ 1
    image, own = (batches[0]["image"].astype(np.float32) - 100) / 50, share[:, None, None, None]
    image = jnp.asarray(own * image + (1 - own) * image[partner], dtype)
    logits = create()(image, train=True, rngs=jnp.stack([key[1] for key in keys])).astype(jnp.float32)
    predicted = np.asarray(logits.argmax(1))
    label = np.where(share > 0.5, predicted, predicted[partner])  # so that the larger weight is right
    assert (label != predicted).any()
    init, step = step_of(create, pad=0, flip=False, dtype=dtype, mix=mix)
    sums = run_steps(init, step, ONE, [{"image": batches[0]["image"], "label": label.astype(np.int32)}]).sums
    weights = share[:, None] * np.eye(10)[label] + (1 - share[:, None]) * np.eye(10)[label[partner]]
    expected = -(weights * np.asarray(jax.nn.log_softmax(logits))).sum()
    assert float(sums["loss"]) == pytest.approx(expected, rel=1e-5 if dtype == jnp.float32 else 1e-2)
    assert float(sums["top1_errors"]) == 0
