"""Responses of layers: against a forward pass by hand, and where they are known."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from resnet_alexnet import parallel
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.features.signals import create_response_spreads, responses, weight_layers
from tests.support import toy_nets
from tests.support.networks import create_network


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (21, 8, 8, 3), np.uint8) // np.arange(1, 22, dtype=np.uint8)[:, None, None, None]
    return ArraySource(images, rng.integers(0, 3, 21).astype(np.int32), ("ant", "bee", "cat"))


def convolution(x, kernel, strides):
    pad = (kernel.shape[0] // 2,) * 2
    return lax.conv_general_dilated(x, kernel, (strides,) * 2, [pad, pad], dimension_numbers=("NHWC", "HWIO", "NHWC"))


def by_hand(network, images):
    """The responses of a CIFAR ResNet-8 with projections, in the order of its layers."""
    found, params, stats = {}, network.params, network.batch_stats

    def layer(x, path, strides=1):
        part, moments = params, stats
        for name in path.split("."):
            key = int(name) if name.isdecimal() else name
            part, moments = part[key], moments[key]
        norm, moments = part["norm"], moments["norm"]
        x = convolution(x, part["conv"]["kernel"], strides)
        x = norm["scale"] * (x - moments["mean"]) / np.sqrt(moments["var"] + 1e-5) + norm["bias"]
        found[f"{path}.conv"] = np.asarray(x, np.float64)
        return x

    x = jax.nn.relu(layer((images - network.spec.preprocessing.mean) / 60, "stem.conv1"))
    for stage in range(3):
        strides = 2 if stage else 1
        y = jax.nn.relu(layer(x, f"stages.{stage}.0.conv1", strides))
        y = layer(y, f"stages.{stage}.0.conv2")
        x = jax.nn.relu(y + (layer(x, f"stages.{stage}.0.shortcut.projection", strides) if stage else x))
    head = params["head"]
    found["head"] = np.asarray(x.mean((1, 2)) @ head["kernel"] + head["bias"], np.float64)
    return found


def measure(network, source, *, devices=1, batch_size=8):
    mesh = parallel.create_mesh(jax.devices()[:devices])
    return create_response_spreads(network.spec, source, batch_size=batch_size, mesh=mesh)(network)


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 21), (8, 3)])
def test_responses_are_those_of_a_forward_pass_by_hand(source, devices, batch_size):
    network = create_network(size=8, shortcut="B")
    spreads = measure(network, source, devices=devices, batch_size=batch_size)
    expected = by_hand(network, source.images.astype(np.float32))
    layers = weight_layers(network.spec)
    assert spreads.keys() == expected.keys()
    assert list(spreads) == [layer.path for layer in layers]
    for path, values in expected.items():
        assert spreads[path] == pytest.approx((values.mean(), values.std()), rel=1e-4, abs=1e-5)
    # Seven convolutions and the classifier, as in the name; projections stand where they are computed.
    assert [layer.index for layer in layers] == [1, 2, 3, 4, 5, None, 6, 7, None, 8]
    assert [layer.kernel_shape for layer in layers[:2]] == [(3, 3, 3, 16), (3, 3, 16, 16)]


def test_a_convolution_that_copies_its_input_has_its_spread():
    name = f"{inspect.getfile(toy_nets)}:SmallNetWithoutNorm"
    network = create_network(name, size=8, channels=1, mean=np.zeros(1, np.float32), std=1.0)
    kernel = np.zeros((3, 3, 1, 8), np.float32)
    kernel[1, 1] = 3
    network.params["conv1"] |= {"kernel": kernel, "bias": np.zeros(8, np.float32)}
    images = np.zeros((4, 8, 8, 1), np.uint8)
    images[:, ::2], images[2:] = 10, images[2:] + 100  # 10 and 0 in half of the rows each, and 100 more in half
    images[2:, ::2] = 110
    spreads = measure(network, ArraySource(images, np.zeros(4, np.int32), ("a", "b", "c")))
    assert spreads["conv1"] == pytest.approx((3 * 55, 3 * np.sqrt(25 + 2500)))
    assert [layer.index for layer in weight_layers(network.spec)] == [1, 2]


def test_of_a_plain_flax_network_too_the_response_is_behind_batch_normalization():
    network = create_network(f"{inspect.getfile(toy_nets)}:SmallNet", size=8, channels=1)
    image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 1)), jnp.float32)
    module = network.module()
    found = responses(module, image)
    assert list(found) == ["conv1", "fc2"]
    np.testing.assert_allclose(found["conv1"], module.norm1(module.conv1(image)), rtol=1e-6)
    np.testing.assert_allclose(found["fc2"], module(image), rtol=1e-6)


def test_local_normalization_is_no_part_of_the_response():
    network = create_network("alexnet_cifar", size=8, channels=1)
    image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 1)), jnp.float32)
    module = network.module()
    found = responses(module, image)
    assert list(found) == ["conv1", "conv2", "local3", "local4", "fc"]
    np.testing.assert_allclose(found["conv1"], module.conv1(image), rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "count"), [("alexnet", 8), ("alexnet_owt", 8), ("resnet18", 18), ("resnet50", 50), ("cifar_plain20", 20)]
)
def test_layers_are_counted_as_in_the_names_of_the_networks(model, count):
    layers = weight_layers(create_network(model, size=224 if model == "alexnet" else 64).spec)
    assert [layer.index for layer in layers if layer.index] == list(range(1, count + 1))
    assert all("shortcut" in layer.path for layer in layers if layer.index is None)
