"""Ways to test: what they ask of a network, and what they cannot be."""

import dataclasses

import pytest

from resnet_alexnet import models
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate.crops import ViewSpec
from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.pretrained.network import ModelSpec
from tests.support.networks import create_network


@pytest.fixture(scope="module")
def photos():
    return create_network(size=24, shorter_side=28).spec


@pytest.fixture(scope="module")
def as_they_are():
    return create_network(size=24).spec


def test_by_default_an_image_is_tested_as_the_network_was_trained(photos, as_they_are):
    assert TestProtocol().view_specs(photos) == (ViewSpec("center", 24, 28, "square", "bilinear_antialiased", 3),)
    assert TestProtocol().view_specs(as_they_are)[0].scale is None
    assert not TestProtocol().mirrored


def test_scales_go_before_the_networks_own(photos):
    protocol = TestProtocol(views="fully_convolutional", scales=(20, 40))
    assert [view_spec.scale for view_spec in protocol.view_specs(photos)] == [20, 40]


@pytest.mark.parametrize(
    ("views", "flip", "mirrored"),
    [
        ("ten_crop", None, True),
        ("ten_crop", True, True),
        ("fully_convolutional", None, True),
        ("fully_convolutional", False, False),
        ("center", True, True),
    ],
)
def test_ten_crops_and_whole_photographs_are_mirrored_too(views, flip, mirrored):
    assert TestProtocol(views=views, flip=flip).mirrored is mirrored


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"views": "centre"}, "views is 'centre', did you mean 'center'"),
        ({"average": "scores"}, "average is 'scores'"),
        ({"scores": "sofmax"}, "did you mean 'softmax'"),
        ({"corners": "all"}, "corners is 'all'"),
        ({"views": "ten_crop", "flip": False}, "five crops and their mirror images"),
        ({"scales": (0,)}, r"scales=\(0,\) .allowed: pixels from 1 to 4096, each once"),
        ({"scales": (32, 40, 32)}, "each once"),
        ({"scales": (5000,)}, "pixels from 1 to 4096"),
    ],
)
def test_what_is_not_allowed_is_named(fields, message):
    with pytest.raises(InputError, match=message):
        TestProtocol(**fields)


def test_crops_that_do_not_fit_and_scales_that_are_missing_are_named(photos, as_they_are):
    with pytest.raises(InputError, match="scales=20 is smaller than the crops of 24 pixels that cifar_resnet8"):
        TestProtocol(views="ten_crop", scales=(28, 20)).view_specs(photos)
    for views in ("ten_crop", "fully_convolutional"):
        with pytest.raises(InputError, match="needs scales for cifar_resnet8, which takes images of 24 pixels without"):
            TestProtocol(views=views).view_specs(as_they_are)


def test_networks_say_how_they_are_tested_fully_convolutionally(photos):
    protocol = TestProtocol(views="fully_convolutional", scales=(190,))
    assert protocol.model_options(photos) == {}
    assert TestProtocol().model_options(ModelSpec("alexnet_cifar", {}, 3, "softmax", photos.preprocessing)) == {}
    with pytest.raises(InputError, match="alexnet_cifar cannot be tested fully convolutionally"):
        models.fully_convolutional_options("alexnet_cifar")
    assert models.fully_convolutional_options("resnet50") == models.fully_convolutional_options("alexnet") == {}
    assert models.fully_convolutional_options("alexnet_owt") == {"last_map": "whole"}
    with pytest.raises(InputError, match="did you mean"):
        models.fully_convolutional_options("resnet51")


def test_a_scale_too_small_for_the_first_fully_connected_layer_is_named(photos):
    preprocessing = dataclasses.replace(photos.preprocessing, image_size=224)
    network = ModelSpec("alexnet_owt", {}, 3, "softmax", preprocessing)
    assert TestProtocol(views="fully_convolutional", scales=(224,)).model_options(network) == {"last_map": "whole"}
    with pytest.raises(InputError, match=r"scales=150 is too small for alexnet_owt \(allowed: \d+ or more\)"):
        TestProtocol(views="fully_convolutional", scales=(224, 150)).model_options(network)
