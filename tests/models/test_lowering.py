"""How XLA compiles the layers: what speed rests on, and a new version of XLA may change."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet import models
from resnet_alexnet.models.convolution import convolve
from resnet_alexnet.models.recomputation import materialize
from tests.support import kernels


def compiled(function, *arguments):
    return jax.jit(function, compiler_options=kernels.FUSED).lower(*arguments).compile().as_text() or ""


def repeated(program):
    """The most ReLUs that an operation of a compiled program computes."""
    bodies = re.findall(r"^%?\S*fused_computation\S* .*?^}", program, re.MULTILINE | re.DOTALL)
    assert bodies
    return max(len(re.findall(r" maximum\(", body)) for body in bodies)


def gradient_program(depth):
    model = models.create_model(
        f"cifar_resnet{depth}", num_classes=10, image_size=8, channels=3, width=4, rngs=nnx.Rngs(0)
    )
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)

    def loss(params, image):
        return nnx.merge(graphdef, params, rest, copy=True)(image, train=True).sum()

    return compiled(jax.grad(loss), params, jnp.ones((2, 8, 8, 3)))


def test_no_operation_of_a_deeper_net_computes_more_blocks_again():
    assert repeated(gradient_program(26)) == repeated(gradient_program(14)) <= 4


def test_without_materialize_they_would(monkeypatch):
    monkeypatch.setattr("resnet_alexnet.models.blocks.materialize", lambda x: x)
    assert repeated(gradient_program(26)) > 4


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_materialize_changes_neither_value_nor_gradient(dtype):
    x = jax.random.normal(jax.random.key(0), (4, 5, 5, 3), dtype)
    np.testing.assert_array_equal(jax.jit(materialize)(x), x)
    nan = x.at[0, 0, 0, 0].set(jnp.nan)
    assert jnp.array_equal(jax.jit(materialize)(nan), nan, equal_nan=True)
    gradients = [jax.jit(jax.grad(lambda x, f=f: jnp.sum(f(jnp.sin(x)) ** 2)))(x) for f in (materialize, lambda x: x)]
    np.testing.assert_array_equal(*gradients)


def test_a_1x1_convolution_is_a_product_of_matrices():
    program = compiled(
        lambda x, kernel: convolve(x, kernel, strides=2), jnp.ones((2, 8, 8, 16)), jnp.ones((1, 1, 16, 32))
    )
    assert re.search(r"f32\[32,32\]\S* dot\(", program)
    assert "convolution(" not in program
