"""Convolutions in a loop and of small maps: the values and gradients of autodiff, in a form that CPUs compute fast."""

import itertools
import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import PartitionSpec

from resnet_alexnet import parallel
from resnet_alexnet.models.convolution import convolve, inside_loop
from tests.support import kernels

FAST = "b01f_01io->b01f"  # NHWC and HWIO, as HLO writes it


def whole_numbers(rng, *shape):
    """Small ones: their products and sums have no rounding, in whatever order they are added."""
    return jnp.asarray(rng.integers(-3, 4, shape), jnp.float32)


@partial(jax.jit, static_argnums=0)
def value_and_gradients(function, x, kernel, dy):
    """Of a function of x and kernel, as one program."""
    value, backward = jax.vjp(function, x, kernel)
    return value, *backward(dy)


def gradients(padding, x, kernel, dy, *, in_loop):
    """(value, gradients) of the convolution of one stack of images, in the body of a loop or not."""

    def one(x, kernel):
        with inside_loop():
            return convolve(x, kernel, padding=padding)

    def looped(x, kernel):
        return lax.scan(lambda carry, x: (carry, one(x, kernel)), 0, x[None])[1][0]

    def plain(x, kernel):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), [padding, padding], dimension_numbers=dimensions)

    return value_and_gradients(looped if in_loop else plain, x, kernel, dy)


@settings(max_examples=8)
@given(
    st.tuples(*[st.integers(1, 9)] * 2),
    st.tuples(*[st.integers(1, 5)] * 2),
    st.tuples(*[st.integers(0, 3)] * 2),
)
def test_gradients_are_those_of_autodiff_for_any_shape(size, window, padding):
    # As in networks, less than the kernel: of more, XLA's gradient has negative padding, and at times wrong numbers.
    padding = tuple(min(pixels, min(window) - 1) for pixels in padding)
    rests = [pixels + sum(padding) - n for pixels, n in zip(size, window, strict=True)]
    assume(min(rests) >= 0)
    rng = np.random.default_rng(0)
    x, kernel = whole_numbers(rng, 2, *size, 3), whole_numbers(rng, *window, 3, 4)
    dy = whole_numbers(rng, 2, *(rest + 1 for rest in rests), 4)
    arguments = (padding, x, kernel, dy)
    for ours, expected in zip(gradients(*arguments, in_loop=True), gradients(*arguments, in_loop=False), strict=True):
        np.testing.assert_array_equal(ours, expected)


def windows(x, window, strides, padding):
    """The padded images, and for each row and column of the output the view of them that the kernel sees there."""
    padded = np.pad(x, [(0, 0), padding, padding, (0, 0)])
    height, width = window
    rows, columns = ((n - own) // strides + 1 for n, own in zip(padded.shape[1:3], window, strict=True))
    return padded, [
        [padded[:, i * strides : i * strides + height, j * strides : j * strides + width] for j in range(columns)]
        for i in range(rows)
    ]


@settings(max_examples=20)
@given(
    st.tuples(*[st.integers(1, 5)] * 2),
    st.tuples(*[st.integers(1, 5)] * 2),
    st.integers(1, 3),
    st.tuples(*[st.integers(0, 3)] * 2),
)
def test_a_kernel_larger_than_its_maps_has_the_value_and_the_gradients_of_a_slow_loop(size, window, strides, padding):
    rests = [pixels + sum(padding) - n for pixels, n in zip(size, window, strict=True)]
    assume(min(rests) >= 0)
    rows, columns = (rest // strides + 1 for rest in rests)
    assume(math.prod(window) > min(math.prod(size), rows * columns))
    rng = np.random.default_rng(0)
    x, kernel = whole_numbers(rng, 2, *size, 3), whole_numbers(rng, *window, 3, 4)
    dy = whole_numbers(rng, 2, rows, columns, 4)
    found = value_and_gradients(partial(convolve, strides=strides, padding=padding), x, kernel, dy)

    _, patches = windows(np.asarray(x), window, strides, padding)
    padded_dx, into = windows(np.zeros_like(x), window, strides, padding)
    expected, expected_dkernel = np.zeros(dy.shape), np.zeros(kernel.shape)
    for i, j in itertools.product(range(rows), range(columns)):
        expected[:, i, j] = np.einsum("bhwi,hwio->bo", patches[i][j], kernel)
        expected_dkernel += np.einsum("bhwi,bo->hwio", patches[i][j], dy[:, i, j])
        into[i][j][...] += np.einsum("hwio,bo->bhwi", kernel, dy[:, i, j])
    expected_dx = padded_dx[:, padding[0] : padding[0] + size[0], padding[0] : padding[0] + size[1]]
    for ours, one in zip(found, (expected, expected_dx, expected_dkernel), strict=True):
        np.testing.assert_array_equal(ours, one)


@pytest.mark.parametrize(("pixels", "strides", "is_product"), [(2, 1, True), (4, 2, True), (3, 1, False)])
def test_a_kernel_with_more_pixels_than_its_maps_is_computed_as_a_product(pixels, strides, is_product):
    x, kernel = jnp.ones((4, pixels, pixels, 8)), jnp.ones((3, 3, 8, 8))
    gradient = jax.grad(lambda x, kernel: (convolve(x, kernel, strides=strides, padding=(1, 1)) ** 2).sum(), (0, 1))
    program = jax.jit(gradient).lower(x, kernel).compile(kernels.FUSED).as_text()
    assert ("convolution(" not in program) == is_product


def test_gradients_in_bfloat16():
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = ((4, 8, 8, 5), (3, 3, 5, 6), (4, 8, 8, 6))
    arrays = [jax.random.normal(key, shape, jnp.bfloat16) for key, shape in zip(keys, shapes, strict=True)]
    looped, plain = (gradients((1, 1), *arrays, in_loop=in_loop) for in_loop in (True, False))
    for ours, expected in zip(looped, plain, strict=True):
        assert ours.dtype == jnp.bfloat16
        ours, expected = ours.astype(jnp.float32), expected.astype(jnp.float32)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=0.03 * float(jnp.abs(expected).max()))


def layouts(step):
    """The layouts of the convolutions of the compiled gradients of two blocks of `step` in a loop; and the program."""

    def loss(kernels, x):
        return lax.scan(lambda x, kernel: (step(x, kernel), None), x, kernels)[0].sum()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    program = gradient.lower(jnp.ones((2, 3, 3, 8, 8)), jnp.ones((2, 6, 6, 8))).compile(kernels.FUSED).as_text()
    return set(re.findall(r"dim_labels=(\S+?)[,\s]", program)), program


def test_the_gradients_in_a_loop_have_the_layout_that_is_fast_on_a_cpu():
    def step(x, kernel):
        with inside_loop():
            return jnp.tanh(convolve(x, kernel, padding=(1, 1)))

    found, program = layouts(step)
    assert found == {FAST}
    assert "conditional(" not in program  # what is for other platforms is gone
    autodiff, _ = layouts(lambda x, kernel: jnp.tanh(convolve(x, kernel, padding=(1, 1))))
    assert autodiff > {FAST}


@pytest.mark.parametrize("differentiated", [(0,), (0, 1)])
def test_a_kernel_that_all_devices_have_alike_has_the_gradient_of_one_device(differentiated):
    rng = np.random.default_rng(0)
    x, kernel = whole_numbers(rng, 8, 5, 5, 3), whole_numbers(rng, 3, 3, 3, 3)

    def loss(x, kernel):
        with inside_loop():
            y, _ = lax.scan(lambda x, _: (convolve(x, kernel, padding=(1, 1)), None), x, length=2)
        return jnp.sum(y)

    gradient = jax.grad(loss, argnums=differentiated)
    one = gradient(x, kernel)
    rows, everywhere = PartitionSpec(parallel.AXIS), PartitionSpec()
    specs = (rows, everywhere)
    eight = jax.shard_map(
        gradient, mesh=parallel.create_mesh(), in_specs=specs, out_specs=tuple(specs[i] for i in differentiated)
    )
    jax.tree.map(np.testing.assert_array_equal, one, jax.jit(eight)(x, kernel))
