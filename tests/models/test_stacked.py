"""Equal blocks that are stacked: their names, and the network that they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet import models
from resnet_alexnet.errors import InputError
from resnet_alexnet.models import resnet
from resnet_alexnet.models.blocks import BasicBlock, Bottleneck, PlainBlock
from resnet_alexnet.models.resnet import CifarStem, ImageNetStem
from resnet_alexnet.models.stacked import stack, stack_blocks, unstack
from resnet_alexnet.paths import leaf_name
from resnet_alexnet.pretrained.network import weights_of
from tests.support.networks import random_weights
from tests.support.trees import assert_trees_close

KINDS = {  # blocks, stems and options
    "basic": (BasicBlock, CifarStem, {"shortcut": "C"}),
    "plain": (PlainBlock, CifarStem, {"bn_group": 2}),
    "bottleneck": (Bottleneck, ImageNetStem, {"pool_padding": "torch", "bn_unbiased_variance": True}),
}


def abstract(name="cifar_resnet32", size=8, **options):
    return nnx.eval_shape(
        lambda: models.create_model(name, num_classes=3, image_size=size, rngs=nnx.Rngs(0), scan=True, **options)
    )


def blocks_of(model):
    return [sorted(stage) for stage in model.stages]


def test_the_first_block_of_a_stage_stays_apart_and_so_does_one_that_is_named():
    model = abstract()
    assert stack_blocks(model)
    assert blocks_of(model) == [["0", "1-4"]] * 3
    model = abstract()
    stack_blocks(
        model, apart=("stages.0.3", "stages/1/1/conv1", "stages.1.2.conv2.norm", "stages.2.0", "stem", "stages.2")
    )
    assert blocks_of(model) == [["0", "1-2", "3", "4"], ["0", "1", "2", "3-4"], ["0", "1-4"]]


def test_arrays_are_called_by_the_first_and_the_last_block_and_have_one_more_axis():
    model = abstract()
    single = unstack(weights_of(model))
    stack_blocks(model)
    tree = weights_of(model)
    shapes = {leaf_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    assert shapes["params/stages/1/1-4/conv1/conv/kernel"] == (4, 3, 3, 32, 32)
    assert shapes["params/stages/1/0/conv1/conv/kernel"] == (3, 3, 16, 32)
    zeros = unstack(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree))
    assert {name: leaf.shape for name, leaf in zeros.items()} == {name: leaf.shape for name, leaf in single.items()}


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.randoms())
def test_stacking_is_the_inverse_of_unstacking(sizes, random):
    """For any state: with parts that are left out, and with more trees of the same names."""

    def run(size):
        return {"kernel": np.float32([[random.random()] * 2] * size), "frozen": None}

    stages = {
        number: {"0": {"conv": run(1)}, "1": {"conv": run(1)}, f"2-{size + 2}": {"conv": run(size + 1)}}
        for number, size in enumerate(sizes)
    }
    tree = {
        "params": {"stages": stages, "head": np.float32(1)},
        "opt_state": ({"stages": stages}, None),
        "9-12": np.ones(2),
    }
    leaves = unstack(tree)
    assert leaves["params/stages/0/2/conv/kernel"].shape == leaves["opt_state/0/stages/0/3/conv/kernel"].shape == (2,)
    assert leaves["9-12"].shape == (2,)  # not of a stage
    jax.tree.map(np.testing.assert_array_equal, stack(leaves, tree), tree)
    assert not np.may_share_memory(stack(leaves, tree)["params"]["head"], np.ones(1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_and_its_gradient_are_the_same(kind):
    block, stem, options = KINDS[kind]
    sizes = {"num_classes": 3, "image_size": 16, "channels": 3, "width": 4}
    model = nnx.eval_shape(
        lambda: resnet.ResNet((3,), block, stem, key=jax.random.key(0), scan=True, **sizes, **options)
    )
    image = np.random.default_rng(0).standard_normal((4, 16, 16, 3)).astype(np.float32)

    def results(weights):
        graphdef = nnx.graphdef(model)

        def loss(params, batch_stats):
            network = nnx.merge(graphdef, params, batch_stats, copy=True)
            logits = network(image)
            trained = network(image, train=True)
            return jnp.sum(jnp.square(trained)), (logits, trained, weights_of(network)["batch_stats"])

        call = jax.jit(jax.grad(loss, has_aux=True))
        gradient, (logits, trained, moved) = jax.device_get(call(weights["params"], weights["batch_stats"]))
        return [logits, trained, unstack(moved), unstack(gradient)]

    weights = random_weights(weights_of(model))
    expected = results(weights)
    assert stack_blocks(model)
    assert blocks_of(model) == [["0", "1-2"]]
    ours = results(stack(unstack(weights), weights_of(model)))
    assert_trees_close(ours, expected, rtol=1e-4)


def test_only_deep_networks_are_stacked_by_default():
    def scans(name, **options):
        return nnx.eval_shape(
            lambda: models.create_model(name, num_classes=3, image_size=32, rngs=nnx.Rngs(0), **options)
        ).scan_equal_blocks

    assert not scans("resnet152")
    assert scans("cifar_plain158")
    assert scans("cifar_resnet8", scan=True)
    assert not scans("cifar_plain158", scan=False)


def test_a_network_that_is_not_to_be_stacked_keeps_its_blocks():
    model = nnx.eval_shape(lambda: models.create_model("cifar_resnet32", num_classes=3, image_size=8, rngs=nnx.Rngs(0)))
    before = nnx.graphdef(model)
    assert not stack_blocks(model)
    assert not stack_blocks(nnx.eval_shape(lambda: models.create_model("alexnet", num_classes=3, rngs=nnx.Rngs(0))))
    assert nnx.graphdef(model) == before


@pytest.mark.parametrize("scan", [False, True])
def test_an_error_inside_a_block_that_is_called_as_a_function_names_the_layer(scan):
    """Batch normalization over one pixel of one image, in the last stage."""
    model = abstract(remat="blocks")
    if scan:
        stack_blocks(model)
    graphdef, state = nnx.split(model)

    def call(state, image):
        return nnx.merge(graphdef, state)(image, train=True)

    with pytest.raises(InputError, match=r"^stages\.2\.0\.conv1\.norm: batch normalization in training over 1 value"):
        jax.eval_shape(call, state, jnp.zeros((1, 4, 4, 3)))
