"""Features, neighbors and kernels against slow loops."""

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from resnet_alexnet import parallel
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.errors import InputError
from resnet_alexnet.features import extraction, kernels, neighbors
from resnet_alexnet.models.layers import observe
from resnet_alexnet.models.trace import layer_paths
from tests.support.networks import create_network


@pytest.fixture(scope="module")
def network():
    return create_network(size=8, mean=np.full(3, 100, np.float32))


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 256, (21, 8, 8, 3), np.uint8), rng.integers(0, 3, 21).astype(np.int32)
    return ArraySource(images, labels, ("class_0", "class_1", "class_2"))


def seen(network, source, path):
    """What goes into a layer and comes out of it, of all images at once."""
    model, found = network.module(), []
    paths = layer_paths(model)

    def note(layer, x, y):
        if paths[id(layer)] == path:
            found.append((np.asarray(x), np.asarray(y)))

    with observe(note):
        logits = model((source.images.astype(np.float32) - 100) / 60)
    return (*found[0], np.asarray(logits))


def collect(network, source, layer, *, devices=1, batch_size=8):
    mesh = parallel.create_mesh(jax.devices()[:devices])
    return extraction.collect(network, source, layer, batch_size=batch_size, mesh=mesh)


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 8), (8, 3), (3, 21)])
def test_features_are_those_of_the_whole_set_at_once_on_any_number_of_devices(network, source, devices, batch_size):
    x, y, logits = seen(network, source, "stages.1.0.conv2.norm")
    for name, expected in (("stages.1.0.conv2.norm", y), ("stages/1/0/conv2/norm:input", x)):
        layer = extraction.find_layer(network, name)
        features, labels = collect(network, source, layer, devices=devices, batch_size=batch_size)
        assert features.shape == (21, *layer.shape) == expected.shape
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(labels, source.labels)
    layer = extraction.find_layer(network)
    assert (layer.name, layer.shape) == ("head:input", (64,))
    features, _ = collect(network, source, layer, devices=devices, batch_size=batch_size)
    head = network.params["head"]
    np.testing.assert_allclose(features @ head["kernel"] + head["bias"], logits, rtol=1e-4, atol=1e-4)


def test_the_mean_over_positions(network, source):
    _, y, _ = seen(network, source, "stages.0.0.conv1.conv")
    layer = extraction.find_layer(network, "stages.0.0.conv1.conv", pool="mean")
    assert layer.shape == (16,)
    np.testing.assert_allclose(collect(network, source, layer)[0], y.mean((1, 2)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "size", "name", "shape"),
    [
        ("alexnet", 224, "fc8:input", (4096,)),
        ("alexnet_owt", 64, "fc8:input", (4096,)),
        ("resnet50", 64, "head:input", (2048,)),
    ],
)
def test_the_default_is_the_last_hidden_layer_as_a_vector(model, size, name, shape):
    layer = extraction.find_layer(create_network(model, size=size))
    assert (layer.name, layer.shape) == (name, shape)


@pytest.mark.parametrize(
    ("name", "pool", "message"),
    [
        ("stages.1.0.conv2.nrom", "none", r"cifar_resnet8 has no such layer, did you mean 'stages.1.0.conv2.norm'\?"),
        ("fc8", "none", r"no such layer \(allowed: stem.conv1.conv, "),
        ("stages.1.0", "none", "no such layer"),
        ("head", "max", "--pool is 'max'"),
    ],
)
def test_what_is_not_there_is_named(network, name, pool, message):
    with pytest.raises(InputError, match=message):
        extraction.find_layer(network, name, pool=pool)


def test_features_that_do_not_fit_are_refused_with_their_size(network):
    layer = extraction.find_layer(network, "stem.conv1.conv")  # 8 x 8 x 16 numbers, 4 KiB
    extraction.check_memory(layer, 2**19, memory=2**32)
    with pytest.raises(
        InputError, match=r"524,289 images of 8 x 8 x 16 .* take 2.0 GiB, more than half of this .* 4.0"
    ):
        extraction.check_memory(layer, 2**19 + 1, memory=2**32)
    assert extraction.machine_memory() > 2**28


def test_neighbors_are_those_of_all_distances_and_none_is_its_own():
    rng = np.random.default_rng(0)
    queries, among = rng.normal(size=(5, 2, 3)).astype(np.float32), rng.normal(size=(5000, 2, 3)).astype(np.float32)
    distances = cdist(queries.reshape(5, -1), among.reshape(5000, -1))
    indices, found = neighbors.find_neighbors(queries, among, count=7)
    np.testing.assert_array_equal(indices, distances.argsort(1)[:, :7])
    np.testing.assert_allclose(found, np.sort(distances, 1)[:, :7], rtol=1e-5)
    indices, found = neighbors.find_neighbors(among[[3, 4999]], among, count=2, same=[3, 4999])
    own = cdist(among.reshape(5000, -1)[[3, 4999]], among.reshape(5000, -1))
    np.testing.assert_array_equal(indices, own.argsort(1)[:, 1:3])


def test_examples_are_of_as_many_classes_as_there_are():
    labels = np.array([2, 2, 0, 0, 0, 5, 5, 3])
    assert labels[neighbors.choose_examples(labels, 4)].tolist() == [0, 2, 3, 5]
    assert neighbors.choose_examples(labels, 6).tolist() == [2, 0, 7, 5, 3, 1]
    assert labels[neighbors.choose_examples(labels, 2)].tolist() == [0, 3]
    assert sorted(neighbors.choose_examples(labels, 50).tolist()) == list(range(8))


@pytest.mark.parametrize(
    ("model", "size", "channels", "path", "shapes"),
    [
        ("alexnet", 224, 3, "conv1", [(11, 11, 3, 48)] * 2),
        ("alexnet_one_tower", 96, 1, "conv1", [(11, 11, 1, 48)]),
        ("alexnet_cifar", 16, 1, "conv1", [(5, 5, 1, 64)]),
        ("resnet18", 32, 3, "stem.conv1.conv", [(7, 7, 3, 64)]),
        ("cifar_plain8", 8, 1, "stem.conv1.conv", [(3, 3, 1, 16)]),
    ],
)
def test_the_first_kernels_of_every_kind_of_net(model, size, channels, path, shapes):
    network = create_network(model, size=size, channels=channels)
    name, towers = kernels.first_kernels(network)
    assert (name, [tower.shape for tower in towers]) == (path, shapes)
    layer = network.params["conv1"] if model.startswith("alexnet") else network.params["stem"]["conv1"]["conv"]
    np.testing.assert_array_equal(np.squeeze(np.stack(towers)), np.squeeze(layer["kernel"]))


def test_kernels_of_images_that_are_no_pictures_are_refused():
    with pytest.raises(InputError, match="images of 2 channels"):
        kernels.first_kernels(create_network(size=8, channels=2))


@pytest.mark.parametrize(("count", "columns"), [(48, 16), (64, 16), (16, 8), (96, 16), (7, 1), (5, 5)])
def test_kernels_are_tiled_each_scaled_by_itself(count, columns):
    weights = np.random.default_rng(0).normal(size=(3, 3, 3, count)).astype(np.float32) * np.arange(count)
    picture = kernels.tile_kernels(weights, scale=4)
    side = 3 * 4 + 2
    assert picture.shape == (count // columns * side, columns * side, 3)
    for number in range(count):
        top, left = number // columns * side, number % columns * side
        tile = picture[top : top + side, left : left + side]
        assert (tile[0] == 255).all()
        assert (tile[:, -1] == 255).all()
        kernel = weights[..., number]
        expected = 127.5 + 127.5 * kernel / max(np.abs(kernel).max(), 1e-30)
        np.testing.assert_allclose(tile[1:-1:4, 1:-1:4], expected, atol=0.51)
        np.testing.assert_array_equal(tile[1:5, 1:5], np.broadcast_to(tile[1, 1], (4, 4, 3)))
