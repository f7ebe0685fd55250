"""Tables of names, in both directions."""

import functools

import numpy as np
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.models.alexnet import map_size
from resnet_alexnet.pretrained import mapping, torchvision
from resnet_alexnet.pretrained.network import ModelSpec, shapes_of, weights_of
from tests.support import torch_peers

MODELS = ("alexnet_owt", *torch_peers.RESNETS, "cifar_resnet20", "cifar_resnet110")


@functools.cache
def shapes(model):
    layout = torchvision.layout(model, 224)
    options = {**layout.options, **layout.in_training}
    preprocessing = torchvision.preprocessing(cifar=layout.cifar, num_classes=10)
    return shapes_of(weights_of(ModelSpec(model, options, 10, "softmax", preprocessing).abstract()))


def peer_shapes(model):
    with torch_peers.torch.device("meta"):
        if model.startswith("cifar"):
            net = torch_peers.CifarResNet(int(model.removeprefix("cifar_resnet")))
        else:
            name = {"alexnet_owt": "alexnet"}.get(model, model)
            net = getattr(torch_peers.torchvision.models, name)(num_classes=10)
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


@pytest.mark.parametrize("model", MODELS)
def test_every_name_of_ours_and_of_the_peers_is_used_exactly_once(model):
    """Also for the peers' networks, whose weights are numbered here and must all arrive."""
    table, theirs = torchvision.layout(model, 224).table, peer_shapes(model)
    weights = {name: shape for name, shape in theirs.items() if not name.endswith("num_batches_tracked")}
    assert len(weights) == len(shapes(model))
    arrays = {name: np.broadcast_to(np.float32(number), weights.get(name, ())) for number, name in enumerate(theirs)}
    ours = mapping.to_ours(table, arrays, shapes(model), where="here")
    assert {name: array.shape for name, array in ours.items()} == shapes(model)
    numbers = [float(array.ravel()[0]) for array in ours.values()]
    assert sorted(numbers) == [number for number, name in enumerate(theirs) if name in weights]


@pytest.mark.parametrize(
    ("kind", "axes"),
    [(mapping.CONVOLUTION, 4), (mapping.LINEAR, 2), (mapping.MAP_LINEAR, 4), (mapping.NORM, 1)],
)
def test_transforms_undo_each_other(kind, axes):
    for leaf in kind.leaves.values():
        size = axes if leaf.name == "weight" else 1
        ours = np.random.default_rng(0).standard_normal((2, 3, 4, 5)[:size])
        theirs = leaf.to_theirs(ours)
        np.testing.assert_array_equal(leaf.to_ours(theirs, ours.shape), ours)
        assert leaf.name != "weight" or theirs.shape[0] == ours.shape[-1]


def test_a_table_with_a_hole_or_a_name_twice_is_a_mistake_of_ours():
    row = ("head", "fc", mapping.LINEAR)
    leaves = {"params/head/kernel": np.ones((2, 3)), "params/other/kernel": np.ones((2, 3))}
    with pytest.raises(ValueError, match="0 rows of the table match other"):
        mapping.to_theirs((row,), leaves)
    with pytest.raises(ValueError, match="2 rows of the table match head"):
        mapping.to_theirs((row, row), leaves)
    with pytest.raises(ValueError, match=r"several arrays to \['fc.weight'\]"):
        mapping.to_theirs((row, ("other", "fc", mapping.LINEAR)), leaves)


def test_everything_that_is_wrong_is_said_at_once():
    arrays = {name: np.zeros(shape, np.float32) for name, shape in peer_shapes("cifar_resnet20").items()}
    del arrays["bn1.weight"], arrays["layer3.2.conv2.weight"]
    arrays["fc.weight"] = np.zeros((10, 64), np.float32)
    arrays["linear.bias"] = np.zeros(7, np.float32)
    arrays["conv1.weight"] = np.zeros((16, 3, 3, 3), np.int8)
    with pytest.raises(InputError) as error:
        mapping.to_ours(torchvision.CIFAR_RESNET, arrays, shapes("cifar_resnet20"), where="x.pth, as cifar_resnet20")
    assert str(error.value) == (
        "x.pth, as cifar_resnet20: 2 missing (layer3.2.conv2.weight, bn1.weight); 1 unexpected (fc.weight); "
        "1 of another shape (linear.bias is (7,), not (10,)); 1 not floating-point (conv1.weight is int8)"
    )


def test_only_what_the_table_drops_is_dropped():
    arrays = {name: np.zeros(shape, np.float32) for name, shape in peer_shapes("cifar_resnet20").items()}
    arrays["bn9.num_batches_tracked"] = np.zeros(())
    with pytest.raises(InputError, match=r"1 unexpected \(bn9.num_batches_tracked\)"):
        mapping.to_ours(torchvision.CIFAR_RESNET, arrays, shapes("cifar_resnet20"), where="x")


def test_alexnets_first_fully_connected_layer_takes_a_map_in_torchs_order():
    leaf = mapping.MAP_LINEAR.leaves["kernel"]
    weight = np.random.default_rng(0).standard_normal((5, 4 * 3 * 2))
    image = np.random.default_rng(1).standard_normal((3, 2, 4))  # height, width, channels
    ours = leaf.to_ours(weight, (3, 2, 4, 5))
    expected = weight @ image.transpose(2, 0, 1).ravel()
    np.testing.assert_allclose(np.einsum("hwc,hwco->o", image, ours), expected)


@pytest.mark.parametrize("model", ["alexnet", "alexnet_cifar", "plain18", "cifar_plain20"])
def test_networks_that_torch_has_not_are_named_with_those_that_it_has(model):
    with pytest.raises(InputError, match=rf"{model} has no weights with torchvision's names .*resnet18.*cifar_resnet"):
        torchvision.layout(model, 224)


def test_the_usual_preprocessing_of_published_weights():
    imagenet = torchvision.preprocessing(cifar=False, num_classes=1000)
    np.testing.assert_allclose(imagenet.mean, [123.675, 116.28, 103.53], rtol=1e-6)
    np.testing.assert_allclose(imagenet.std, [58.395, 57.12, 57.375], rtol=1e-6)
    assert (imagenet.image_size, imagenet.shorter_side, imagenet.interpolation) == (224, 256, "bilinear_antialiased")
    assert (imagenet.classes[0], imagenet.classes[281], len(imagenet.classes)) == ("n01440764", "n02123045", 1000)
    cifar = torchvision.preprocessing(cifar=True, num_classes=10)
    assert (cifar.image_size, cifar.shorter_side) == (32, None)
    assert (cifar.classes[0], cifar.classes[9]) == ("airplane", "truck")
    assert torchvision.preprocessing(cifar=False, num_classes=3).classes == ("0", "1", "2")


def test_averaging_the_last_map_is_part_of_the_form_where_there_is_something_to_average():
    assert map_size(224) == 6
    assert "last_map" not in torchvision.layout("alexnet_owt", 224).options
    assert torchvision.layout("alexnet_owt", 256).options["last_map"] == "averaged"
