"""Convolutions, pooling, dropout and initializers against torch, numpy loops and their definitions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from resnet_alexnet.errors import InputError
from resnet_alexnet.models import initializers
from resnet_alexnet.models.alexnet import MapLinear, TowerConvolution
from resnet_alexnet.models.alexnet_owt import adaptive_average_pool
from resnet_alexnet.models.convolution import convolve
from resnet_alexnet.models.initializers import draw, he_normal, torch_uniform
from resnet_alexnet.models.layers import (
    Convolution,
    Dropout,
    Linear,
    LocalConvolution,
    MaxPool,
    image_keys,
    observe,
)

torch = pytest.importorskip("torch")
F = torch.nn.functional
KEY = jax.random.key(0)
NORMAL = jax.nn.initializers.normal(1.0)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def to_torch(x, requires_grad=False):
    return torch.tensor(np.asarray(x).transpose(0, 3, 1, 2), requires_grad=requires_grad)


def weight(kernel):
    return torch.tensor(np.asarray(kernel).transpose(3, 2, 0, 1))


def from_torch(x):
    return x.detach().permute(0, 2, 3, 1).numpy()


@functools.partial(jax.jit, static_argnums=0)
def value_and_pullback(layer, x, cotangent):
    value, pull = jax.vjp(layer, x)
    return value, pull(cotangent)[0]


@pytest.mark.parametrize(("kernel_size", "strides", "padding"), [(11, 4, 2), (7, 2, 3), (3, 2, 1), (1, 2, 0)])
def test_convolution_is_torchs_in_value_and_gradient(kernel_size, strides, padding):
    layer = Convolution(
        3, 4, kernel_size, strides=strides, padding=(padding, padding), kernel_init=NORMAL, bias_init=NORMAL, key=KEY
    )
    x = normal(0, 2, 17, 14, 3)
    theirs_in = to_torch(x, requires_grad=True)
    bias = torch.tensor(np.asarray(layer.bias.get_value()))
    theirs = F.conv2d(theirs_in, weight(layer.kernel.get_value()), bias, strides, padding)
    cotangent = normal(1, *from_torch(theirs).shape)
    theirs.backward(to_torch(cotangent))
    ours, gradient = value_and_pullback(layer, x, cotangent)
    np.testing.assert_allclose(ours, from_torch(theirs), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient, from_torch(theirs_in.grad), rtol=1e-4, atol=1e-4)


@settings(max_examples=10)
@given(height=st.integers(1, 9), width=st.integers(1, 9), strides=st.integers(1, 3))
def test_the_matrix_product_of_a_1x1_convolution_is_the_convolution(height, width, strides):
    x, kernel = jnp.asarray(normal(1, 2, height, width, 3)), jnp.asarray(normal(2, 1, 1, 3, 5))
    expected = lax.conv_general_dilated(
        x, kernel, (strides, strides), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(convolve(x, kernel, strides=strides), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("see_all", [True, False])
def test_towers_are_torchs_groups(see_all):
    layer = TowerConvolution(
        4, 6, 3, towers=2, see_all=see_all, strides=2, padding=(1, 1), kernel_init=NORMAL, bias=0.5, key=KEY
    )
    kernels = layer.kernel.get_value()
    assert kernels.shape == (2, 3, 3, 4 if see_all else 2, 3)
    assert not np.array_equal(kernels[0], kernels[1])
    layer.bias.set_raw_value(jnp.asarray(normal(3, 2, 3)))
    x = normal(4, 2, 7, 8, 4)
    stacked = torch.cat([weight(kernel) for kernel in kernels])
    bias = torch.tensor(np.asarray(layer.bias.get_value()).reshape(-1))
    theirs = F.conv2d(to_torch(x), stacked, bias, 2, 1, groups=1 if see_all else 2)
    np.testing.assert_allclose(layer(jnp.asarray(x)), from_torch(theirs), rtol=1e-4, atol=1e-4)


def test_local_convolution_has_its_own_kernel_at_every_position():
    layer = LocalConvolution(4, 3, 2, 3, padding=(1, 1), kernel_init=NORMAL, key=KEY)
    layer.bias.set_raw_value(jnp.asarray(normal(5, 4, 4, 2)))
    x = normal(6, 2, 4, 4, 3)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    kernel, expected = np.asarray(layer.kernel.get_value()), np.empty((2, 4, 4, 2), np.float32)
    for i in range(4):
        for j in range(4):
            window = padded[:, i : i + 3, j : j + 3].transpose(0, 3, 1, 2).reshape(2, -1)
            expected[:, i, j] = window @ kernel[i, j] + layer.bias.get_value()[i, j]
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected, rtol=1e-4, atol=1e-4)


def test_a_fully_connected_layer_slides_over_a_larger_map():
    layer = MapLinear(2, 3, 5, kernel_init=NORMAL, bias_init=NORMAL, key=KEY)
    x = jnp.asarray(normal(7, 2, 3, 4, 3))
    windows = [[layer(x[:, i : i + 2, j : j + 2])[:, 0, 0] for j in range(3)] for i in range(2)]
    assert windows[0][0].shape == (2, 5)
    expected = np.moveaxis(np.asarray(windows), 2, 0)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


POOL_ARGUMENTS = {"none": {}, "ceil": {"ceil_mode": True}, "symmetric": {"padding": 1}}


@pytest.mark.parametrize(("height", "width"), [(7, 8), (9, 6)])
@pytest.mark.parametrize(("window", "stride"), [(3, 2), (2, 2)])
@pytest.mark.parametrize("padding", ["none", "ceil", "symmetric"])
def test_max_pool_is_torchs_in_value_and_gradient(height, width, window, stride, padding):
    # A permutation has no ties, whose gradients we share out.
    x = np.random.default_rng(0).permutation(2 * height * width * 2).astype(np.float32)
    x = x.reshape(2, height, width, 2) - x.size / 2
    layer = MaxPool(window, stride, padding=padding)
    theirs_in = to_torch(x, requires_grad=True)
    theirs = F.max_pool2d(theirs_in, window, stride, **POOL_ARGUMENTS[padding])
    cotangent = normal(9, *from_torch(theirs).shape)
    theirs.backward(to_torch(cotangent))
    ours, gradient = value_and_pullback(layer, x, cotangent)
    assert ours.shape[1:3] == (layer.output_size(height), layer.output_size(width))
    np.testing.assert_array_equal(ours, from_torch(theirs))
    np.testing.assert_allclose(gradient, from_torch(theirs_in.grad), rtol=1e-5, atol=1e-5)


@settings(max_examples=10)
@given(height=st.integers(1, 14), width=st.integers(1, 14), size=st.sampled_from([1, 3, 6]))
def test_adaptive_pooling_is_torchs(height, width, size):
    x = normal(10, 2, height, width, 3)
    theirs = F.adaptive_avg_pool2d(to_torch(x), size)
    np.testing.assert_allclose(adaptive_average_pool(jnp.asarray(x), size), from_torch(theirs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_dropout_drops_at_its_rate_and_keeps_the_expectation(rate):
    keys = jax.random.split(KEY, 100)
    x = jnp.full((100, 400), 3.0)
    sampling_error = np.sqrt(rate * (1 - rate) / x.size)
    for scaling, kept_value in (("inverted", 3 / (1 - rate)), ("test", 3.0)):
        layer = Dropout(rate, scaling=scaling, index=6)
        y = np.asarray(layer(x, keys=keys))
        np.testing.assert_allclose(np.unique(y), [0, kept_value], rtol=1e-6)
        assert abs((y == 0).mean() - rate) < 4 * sampling_error
        test_value = np.asarray(layer(x, keys=None))
        np.testing.assert_allclose(test_value, test_value[0, 0])
        assert abs(y.mean() / test_value[0, 0] - 1) < 4 * sampling_error / (1 - rate)


def test_dropout_depends_on_each_images_key_and_on_the_layer_alone():
    keys = jax.random.split(KEY, 6)
    x = jnp.ones((6, 50))
    layer = Dropout(0.5, index=6)
    whole = layer(x, keys=keys)
    np.testing.assert_array_equal(whole, jnp.concatenate([layer(x[:2], keys=keys[:2]), layer(x[2:], keys=keys[2:])]))
    assert len(np.unique(whole, axis=0)) == 6
    assert not np.array_equal(whole, Dropout(0.5, index=7)(x, keys=keys))


def test_image_keys_come_from_a_stream_or_are_given():
    assert image_keys(nnx.Rngs(0), 3).shape == (3,)
    keys = jax.random.split(KEY, 3)
    assert image_keys(keys, 3) is keys
    with pytest.raises(InputError, match="one key per image"):
        image_keys(keys, 4)
    with pytest.raises(InputError, match="pass rngs"):
        image_keys(None, 3)


def test_he_normal_has_variance_two_over_fan_in_and_torchs_uniform_its_bound():
    he = he_normal()(KEY, (3, 3, 50, 20), jnp.float32)
    assert abs(float(he.std()) / np.sqrt(2 / 450) - 1) < 4 / np.sqrt(2 * he.size)
    uniform = torch_uniform(450)(KEY, (3, 3, 50, 20), jnp.float32)
    bound = 450**-0.5
    assert bound * 0.999 < float(jnp.abs(uniform).max()) <= bound
    assert abs(float(uniform.std()) / (bound / np.sqrt(3)) - 1) < 4 / np.sqrt(2 * uniform.size)


@pytest.mark.parametrize(
    "init", [he_normal(), torch_uniform(450), initializers.normal(0.01), initializers.constant(1.0)]
)
def test_a_draw_has_the_bits_of_a_fully_optimized_program_and_under_a_trace_is_a_part_of_it(init):
    optimized = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}  # XLA's own defaults
    expected = jax.jit(lambda key: init(key, (3, 3, 50, 20), jnp.float32), compiler_options=optimized)(KEY)
    traced = jax.jit(lambda key: draw(init, key, (3, 3, 50, 20)), compiler_options=optimized)(KEY)
    drawn = draw(init, KEY, (3, 3, 50, 20))
    assert np.asarray(drawn).tobytes() == np.asarray(expected).tobytes() == np.asarray(traced).tobytes()


def test_observe_shows_each_layers_input_and_output_and_only_inside_the_block():
    layer, seen = Linear(3, 2, kernel_init=NORMAL, bias_init=NORMAL, key=KEY), []
    x = jnp.ones((1, 3))
    with observe(lambda *call: seen.append(call)):
        y = layer(x)
    layer(x)
    assert len(seen) == 1
    assert seen[0][0] is layer
    assert seen[0][1] is x
    assert seen[0][2] is y


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: Dropout(1.0, index=0), "dropout is 1.0"),
        (lambda: Dropout(-0.1, index=0), "dropout is -0.1"),
        (lambda: Dropout(0.5, scaling="invert", index=0), "dropout_scaling is 'invert', did you mean 'inverted'"),
        (lambda: MaxPool(3, 2, padding="same"), "padding is 'same'"),
    ],
)
def test_a_bad_layer_option_is_named(create, message):
    with pytest.raises(InputError, match=message):
        create()
