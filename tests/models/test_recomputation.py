"""Rematerialization: equal gradients in less memory, also on a CPU, in a loop and without."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet import models
from resnet_alexnet.errors import InputError
from resnet_alexnet.models import stacked
from resnet_alexnet.models.blocks import BasicBlock
from resnet_alexnet.models.recomputation import recomputed
from resnet_alexnet.models.resnet import CifarStem, ResNet
from tests.support import kernels
from tests.support.networks import random_weights
from tests.support.trees import assert_trees_close

IMAGE = np.random.default_rng(0).standard_normal((16, 16, 16, 3)).astype(np.float32)


@functools.cache
def compiled(scan, remat):
    """The compiled gradient of a network of one stage, in which seven blocks are equal, and its weights."""
    options = {"num_classes": 3, "image_size": 8, "channels": 3, "width": 4, "scan": scan, "remat": remat}
    model = nnx.eval_shape(lambda: ResNet((8,), BasicBlock, CifarStem, key=jax.random.key(0), **options))
    weights = random_weights(nnx.to_pure_dict(nnx.state(model)))
    stacked.stack_blocks(model)
    graphdef = nnx.graphdef(model)

    def loss(weights, image):
        network = nnx.merge(graphdef, weights, copy=True)
        return jnp.sum(jnp.square(network(image, train=True))), nnx.to_pure_dict(nnx.state(network, nnx.BatchStat))

    weights = stacked.stack(stacked.unstack(weights), nnx.to_pure_dict(nnx.state(model)))
    program = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(weights, IMAGE).compile(kernels.FUSED)
    return program, weights


def temporaries(scan, remat):
    return compiled(scan, remat)[0].memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("scan", [False, True])
def test_blocks_that_are_computed_again_give_the_same_gradients(scan):
    results = []
    for remat in ("none", "blocks"):
        program, weights = compiled(scan, remat)
        results.append(program(weights, IMAGE))
    assert_trees_close(*results, rtol=1e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_blocks_that_are_computed_again_take_less_memory(scan):
    assert temporaries(scan, "blocks") < 0.5 * temporaries(scan, "none")


@pytest.mark.parametrize("remat", ["none", "blocks"])
def test_the_convolutions_of_a_loop_have_the_layout_that_is_fast_on_a_cpu(remat):
    layouts = re.findall(r"dim_labels=(\S+?)[,\s]", compiled(True, remat)[0].as_text())
    assert set(layouts) == {"b01f_01io->b01f"}  # NHWC and HWIO


def test_in_a_loop_elementwise_results_are_not_kept(monkeypatch):
    less = temporaries(True, "none")
    monkeypatch.setattr(stacked, "kept_in_loop", jax.checkpoint_policies.everything_saveable)
    compiled.cache_clear()
    assert less < 0.7 * temporaries(True, "none")
    compiled.cache_clear()


def test_the_backward_pass_calls_the_function_again_once_the_gradient_is_there():
    calls = []

    def function(x, weights):
        calls.append(None)
        return jnp.sin(x * weights["scale"]), [x.sum()]

    def loss(x, weights):
        y, (total,) = recomputed(function)(x, weights)
        return jnp.sum(y) + 2 * total

    x, weights = jnp.arange(3.0), {"scale": jnp.float32(0.5)}
    dx, dweights = jax.grad(loss, argnums=(0, 1))(x, weights)
    assert len(calls) == 2
    np.testing.assert_allclose(dx, 0.5 * np.cos(0.5 * x) + 2, rtol=1e-6)
    np.testing.assert_allclose(dweights["scale"], np.sum(x * np.cos(0.5 * x)), rtol=1e-6)
    assert jax.grad(lambda x: loss(x, weights))(x.at[0].set(jnp.nan)).shape == (3,)


def test_an_unknown_value_is_refused():
    with pytest.raises(InputError, match=r"remat is 'block', did you mean 'blocks'\?"):
        models.create_model("cifar_resnet8", num_classes=3, image_size=8, rngs=nnx.Rngs(0), remat="block")
