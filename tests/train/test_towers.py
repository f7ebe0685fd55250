"""The two towers of AlexNet on pairs of devices: the steps of the network on one device, and what crosses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax

from resnet_alexnet import losses, metrics, parallel
from resnet_alexnet.errors import InputError
from resnet_alexnet.models.alexnet import AlexNet
from resnet_alexnet.optim.sgd import sgd
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train import augment, steps
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.state import create_state
from tests.support import tiny
from tests.support.trees import assert_trees_close, assert_trees_equal

SIZE, BATCH = 99, 8  # pixels: a last map of 2x2
WIDTHS = (8, 16, 16, 24, 16, 32, 64)
PREPROCESSING = Preprocessing(SIZE, 3, np.float32([100]), np.float32([50]), ())
SMOOTH = losses.create_loss("softmax_cross_entropy", label_smoothing=0.1)


def networks(**options):
    """(parameters, graph definition on one device, graph definition on a pair)."""
    create = partial(create_network, **options)
    params = jax.device_get(jax.jit(lambda: nnx.to_pure_dict(nnx.state(create(), nnx.Param)))())
    for layer in params.values():
        layer["kernel"] = 10 * layer["kernel"]  # so narrow a network needs larger weights for its logits to differ
    one, pair = nnx.eval_shape(create), nnx.eval_shape(create)
    pair.split_towers(parallel.TOWER)
    return params, nnx.graphdef(one), nnx.graphdef(pair)


def create_network(**options):
    return AlexNet(WIDTHS, num_classes=5, image_size=SIZE, channels=3, key=jax.random.key(0), **options)


def chunk_step_of(graphdef, tx, mesh, specs, *, unroll=True, accumulate_steps=1):
    step = partial(
        steps.train_step,
        graphdef=graphdef,
        tx=tx,
        loss=SMOOTH,
        preprocess=partial(
            steps.preprocess_batch,
            normalize=partial(PREPROCESSING.normalize, dtype=jnp.float32),
            augment=partial(augment.augment, pad=0, flip=True, basis=None),
            mix=None,
        ),
        seed=3,
        axis_name=parallel.AXIS,
        ema_decay=0.5,
        accumulate_steps=accumulate_steps,
        unroll=unroll,
    )
    return parallel.parallel_train_chunk(partial(steps.train_chunk, step=step, unroll=unroll), mesh, specs)


def start(params, tx):
    return create_state(params, {}, tx.init(params), metrics.zero_sums(5), ema=True)


def batches():
    rng = np.random.default_rng(0)
    return [
        {
            "image": rng.integers(0, 256, (1, BATCH, SIZE, SIZE, 3), np.uint8),
            "label": rng.integers(0, 5, (1, BATCH)).astype(np.int32),
        }
        for _ in range(3)
    ]


def train(params, graphdef, tx, *, devices, towers, **options):
    mesh = parallel.create_tower_mesh(towers, jax.devices()[:devices])
    axes = AlexNet.tower_axes if towers == 2 else {}
    state = start(params, tx)
    specs = parallel.tower_specs(lambda: state, axes)
    chunk_step, state = chunk_step_of(graphdef, tx, mesh, specs, **options), parallel.shard(state, mesh, specs)
    for chunk in batches():
        state, _ = chunk_step(state, {}, parallel.split_batch(chunk, mesh, axis=1))
    return jax.block_until_ready(state)


def rule(**options):
    return sgd(optax.constant_schedule(0.05), momentum=0.9, weight_decay=5e-4, **options)


def assert_same_states(one, pairs):
    for field in ("params", "opt_state", "ema", "sums"):
        assert_trees_close(getattr(one, field), getattr(pairs, field), rtol=1e-5)


@pytest.fixture(scope="module")
def papers():
    """The paper's network and rule, and the state after three steps on one device."""
    params, one, pair = networks()
    return params, pair, train(params, one, rule(), devices=1, towers=1)


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_three_steps_on_pairs_of_devices_are_those_on_one(papers, devices):
    params, pair, one = papers
    pairs = train(params, pair, rule(), devices=devices, towers=2)
    assert_same_states(one, pairs)
    with pytest.raises(AssertionError):  # they did change the parameters, the last layer's too
        assert_trees_close(params["fc8"], pairs.params["fc8"], rtol=1e-2)
    with pytest.raises(AssertionError):
        assert_trees_close(params["conv1"], pairs.params["conv1"], rtol=1e-2)
    for name, axis in AlexNet.tower_axes.items():  # half on each device, and in the momentum and the average too
        layer, leaf = name.split("/")
        for tree in (pairs.params, pairs.opt_state[-1].trace, pairs.ema["params"]):
            array = tree[layer][leaf]
            assert array.addressable_shards[0].data.shape[axis] == array.shape[axis] // 2
    held, whole = parallel.device_bytes(pairs.params)
    fc8 = sum(leaf.nbytes for leaf in jax.tree.leaves(params["fc8"]))
    assert held == (whole - fc8) // 2 + fc8


@pytest.mark.parametrize("unroll", [True, False])
def test_micro_batches_on_a_pair_give_the_same(papers, unroll):
    params, pair, one = papers
    assert_same_states(one, train(params, pair, rule(), devices=2, towers=2, accumulate_steps=2, unroll=unroll))


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ({"lrn": False, "dropout": 0.0, "activation": "tanh", "pooling": "plain"}, {"update_rule": "optax"}),
        (
            {"lrn_order": "before_activation", "dropout_scaling": "test", "lrn_alpha_over_size": True},
            {"bias_learning_rate": 2.0, "decay_mask": "kernels"},
        ),
    ],
)
def test_so_are_those_of_its_variants(options, optimizer):
    params, one, pair = networks(**options)
    states = [
        train(params, graphdef, rule(**optimizer), devices=devices, towers=towers)
        for graphdef, devices, towers in ((one, 1, 1), (pair, 4, 2))
    ]
    assert_same_states(*states)


def test_the_logits_on_pairs_are_those_on_one_device():
    params, one, pair = networks()
    image = jax.random.normal(jax.random.key(1), (BATCH, SIZE + 32, SIZE + 32, 3))  # larger: averaged over positions

    def logits(graphdef, params, image):
        return nnx.merge(graphdef, params)(image)

    def gathered(params, batch_stats, batch):
        return lax.all_gather(logits(pair, params, batch["image"]), parallel.AXIS, tiled=True, to="invarying")

    mesh = parallel.create_tower_mesh(2, jax.devices()[:4])
    specs = parallel.tower_specs(lambda: params, AlexNet.tower_axes)
    found = parallel.parallel_eval_step(gathered, mesh, specs)(
        parallel.shard(params, mesh, specs), {}, parallel.split_batch({"image": np.asarray(image)}, mesh)
    )
    expected = jax.jit(partial(logits, one))(params, image)
    assert np.asarray(expected).std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_scanned_step_has_the_same_types(papers):
    params, pair, _ = papers
    mesh, state = parallel.create_tower_mesh(2, jax.devices()[:4]), start(params, rule())
    chunk_step = chunk_step_of(
        pair, rule(), mesh, parallel.tower_specs(lambda: state, AlexNet.tower_axes), unroll=False
    )
    after, _ = jax.eval_shape(chunk_step, state, {}, batches()[0])
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


def test_the_collectives_of_a_step_are_those_of_the_architecture(papers):
    params, pair, _ = papers
    mesh, state = parallel.create_tower_mesh(2, jax.devices()[:4]), start(params, rule())
    chunk_step = chunk_step_of(pair, rule(), mesh, parallel.tower_specs(lambda: state, AlexNet.tower_axes))
    found = parallel.read_collectives(chunk_step.lower(state, {}, batches()[0]).compile().as_text())
    assert {collective.computation for collective in found} == {"ENTRY"}
    inputs = {"conv3": 5 * 5 * 16, "fc6": 2 * 2 * 16, "fc7": 32, "fc8": 64}  # values that an image gives to each layer
    images = BATCH // 2
    for kind, layers in (("all-gather", list(inputs)), ("reduce-scatter", ["fc7", "fc6", "conv3"])):
        some = [collective for collective in found if collective.kind == kind]
        assert [one.scope.split("both_towers_to_")[1].split(")")[0] for one in some] == layers
        assert [parallel.sent_bytes(one, mesh.size) for one in some] == [
            4 * images * inputs[layer] // 2 for layer in layers
        ]
        assert all(("transpose" in one.scope) == (kind == "reduce-scatter") for one in some)
    (all_reduce,) = (collective for collective in found if collective.kind == "all-reduce")
    assert len(found) == 4 + 3 + 1
    fc8 = sum(leaf.size for leaf in jax.tree.leaves(params["fc8"]))
    held = (sum(leaf.size for leaf in jax.tree.leaves(params)) - fc8) // 2 + fc8
    assert all_reduce.bytes == 4 * (held + 1 + len(state.sums))  # and the loss


def test_the_start_is_bitwise_that_of_one_device():
    def create():
        return nnx.to_pure_dict(nnx.state(create_network(), nnx.Param))

    specs = parallel.tower_specs(partial(jax.eval_shape, create), AlexNet.tower_axes)
    mesh = parallel.create_tower_mesh(2, jax.devices()[:4])
    assert_trees_equal(jax.jit(create)(), parallel.sharded(create, mesh, specs))


ALEXNET = {
    "model__name": "alexnet",
    "preprocess__image_size": 67,
    "dataset__channels": 3,
    "dataset__num_examples": 32,
    "batch_size": 8,
    "augment__pad": 0,
}


OWN = """
from resnet_alexnet.models.alexnet import AlexNet


class Narrow(AlexNet):
    def __init__(self, *, num_classes, image_size, channels, key):
        super().__init__((8,) * 7, num_classes=num_classes, image_size=image_size, channels=channels, key=key)
"""


def test_a_network_of_ones_own_is_split_if_its_class_says_how(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    fields = {"mesh__towers": 2, "model__name": f"{tmp_path / 'own.py'}:Narrow"}
    experiment = create_experiment(tiny.config(**{**ALEXNET, **fields}), jax.devices()[:2])
    assert experiment.model.tower_axes == AlexNet.tower_axes


@pytest.mark.parametrize(
    ("fields", "devices", "message"),
    [
        ({"mesh__towers": 3}, 2, "mesh.towers is 3"),
        ({"model__name": "cifar_resnet8"}, 2, "mesh.towers=2 with model.name='cifar_resnet8' .allowed: alexnet, which"),
        ({"model__name": "alexnet_one_tower"}, 2, "mesh.towers=2 with model.name='alexnet_one_tower'"),
        ({"optim__clip_norm": 1.0}, 2, "mesh.towers=2 with optim.clip_norm=1.0"),
        ({"model__towers": 1}, 2, "mesh.towers=2 with a network of one tower"),
        ({"model__lrn_across_towers": True}, 2, "mesh.towers=2 with model.lrn_across_towers=True"),
        ({}, 3, "pairs of devices, but here are 3 device"),
        ({}, 1, "pairs of devices, but here are 1 device"),
        ({"batch_size": 6}, 8, "batch_size=6 does not divide among 4 pair.s. of devices .* multiples of 4, such as 8"),
    ],
)
def test_what_cannot_be_split_is_one_line(fields, devices, message):
    with pytest.raises(InputError, match=message) as error:
        create_experiment(tiny.config(**{**ALEXNET, "mesh__towers": 2, **fields}), jax.devices()[:devices])
    assert "\n" not in str(error.value)
