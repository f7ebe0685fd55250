"""Weight files of our own, and in the names that torch's modules take."""

import dataclasses
import json
import os
import stat
from functools import partial

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from resnet_alexnet import pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import weights
from resnet_alexnet.pretrained.network import ModelSpec, TrainedModel
from tests.support.networks import TORCH_OPTIONS, assert_same_network, create_network

create = partial(create_network, size=32, classes=("cat", "dög", "ship"), std=(50, 60, 70))
PREPROCESSING = create("cifar_resnet8").spec.preprocessing


@pytest.mark.parametrize(
    ("model", "options", "names"),
    [
        ("cifar_resnet8", {"shortcut": "C", "bn_group": 8, "activation": "tanh"}, "ours"),
        ("cifar_resnet8", TORCH_OPTIONS, "ours"),
        ("cifar_resnet8", TORCH_OPTIONS, "torchvision"),
        ("cifar_resnet8", {"shortcut_padding": "both", "bn_group": "sync"}, "torchvision"),
        ("alexnet_cifar", {}, "ours"),
    ],
)
def test_a_network_comes_back_bit_by_bit_with_its_description(tmp_path, model, options, names):
    network = create(model, **options)
    weights.save(network, tmp_path / "x.safetensors", names=names)
    assert_same_network(pretrained.load_network(tmp_path / "x.safetensors"), network)
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_a_single_logit_and_independent_scores_come_back(tmp_path):
    network = create("cifar_resnet8", num_classes=1, scores="sigmoid")
    spec = dataclasses.replace(network.spec, preprocessing=dataclasses.replace(PREPROCESSING, classes=("no", "yes")))
    network = dataclasses.replace(network, spec=spec)
    weights.save(network, tmp_path / "x.safetensors")
    assert_same_network(pretrained.load_network(tmp_path / "x.safetensors"), network)


def test_what_is_computed_is_the_same_after_a_file(tmp_path):
    network = create("cifar_resnet8", shortcut="B")
    weights.save(network, tmp_path / "x.safetensors")
    image = np.random.default_rng(1).standard_normal((2, 32, 32, 3)).astype(np.float32)
    module = pretrained.load_model(str(tmp_path / "x.safetensors"), "cifar_resnet8")
    np.testing.assert_array_equal(module(image), network.module()(image))


def test_anybody_can_read_the_file(tmp_path):
    """With safetensors alone: names, float32 arrays, and the description as JSON text; with the usual permissions."""
    network, path = create("cifar_resnet8"), tmp_path / "x.safetensors"
    weights.save(network, path)
    with safetensors.safe_open(path, framework="np") as file:
        assert set(file.keys()) == network.leaves().keys()
        assert json.loads(file.metadata()["network"]) == network.spec.to_json()
    other = tmp_path / "other"
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def rewrite(path, change):
    """Changes a weight file's arrays and text, as other programs or time may."""
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    arrays = safetensors.numpy.load_file(path)
    change(arrays, metadata)
    path.write_bytes(safetensors.numpy.save(arrays, metadata))


@pytest.mark.parametrize("names", weights.NAMES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, metadata: arrays.popitem(), "not those that were saved"),
        (lambda arrays, metadata: arrays.update(more=np.ones(1, np.float32)), "not those that were saved"),
        (
            lambda arrays, metadata: next(iter(arrays.values())).reshape(-1).__setitem__(0, 7),
            "not those that were saved",
        ),
        (lambda arrays, metadata: metadata.update(network=metadata["network"].replace("cat", "rat")), "not those"),
        (lambda arrays, metadata: metadata.pop("digest"), "not those"),
    ],
)
def test_damage_is_found(tmp_path, names, change, message):
    path = tmp_path / "x.safetensors"
    weights.save(create("cifar_resnet8", **TORCH_OPTIONS), path, names=names)
    rewrite(path, change)
    with pytest.raises(InputError, match=f"^{path} is damaged: .*{message}"):
        pretrained.load_network(path)


def test_one_flipped_bit_is_found(tmp_path):
    path = tmp_path / "x.safetensors"
    weights.save(create("cifar_resnet8"), path)
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="not those that were saved"):
        pretrained.load_network(path)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    network = create("cifar_resnet8")
    network.params["head"]["kernel"][3, 1] = np.nan
    weights.save(network, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"not finite, in 1 arrays \(params/head/kernel\)"):
        pretrained.load_network(tmp_path / "x.safetensors")


def test_a_description_from_elsewhere_is_checked(tmp_path):
    path, network = tmp_path / "x.safetensors", create("cifar_resnet8")

    def save_with(text):
        arrays = network.leaves()
        metadata = {"network": text, "digest": weights._digest(arrays, text)}
        path.write_bytes(safetensors.numpy.save(arrays, metadata))

    described = network.spec.to_json()
    for changed, message in (
        ("{", "x.safetensors: Expecting"),
        (json.dumps({**described, "model": "cifar_resnet9"}), "x.safetensors: unknown model"),
        (json.dumps({**described, "options": {"shortcut": "D"}}), "x.safetensors: shortcut is 'D'"),
        (json.dumps({"model": "cifar_resnet8"}), "x.safetensors: the description of the network is damaged"),
        (
            json.dumps({**described, "model": "cifar_resnet14"}),
            "does not hold the weights of cifar_resnet14: .*missing",
        ),
        (json.dumps({**described, "num_logits": 5}), "has 5 logits, but 3 classes are named"),
    ):
        save_with(changed)
        with pytest.raises(InputError, match=message):
            pretrained.load_network(path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    network = create("cifar_resnet8")
    weights.save(network, path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=f"{path} cannot be written: No space left on device"):
        weights.save(create("cifar_resnet8", shortcut="B"), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        ("resnet18", {}, "shortcut='B', pool_padding='torch'"),
        ("resnet18", {"shortcut": "B"}, "pool_padding='torch'"),
        ("resnet18", {"shortcut": "C", "pool_padding": "torch"}, "shortcut='B'"),
        ("resnet50", {"pool_padding": "torch"}, "stride_in='3x3'"),
        ("resnet50", {"pool_padding": "torch", "stride_in": "3x3", "activation": "tanh"}, "activation='relu'"),
        ("cifar_resnet8", {}, "shortcut_padding='both'"),
        ("cifar_resnet8", {"shortcut": "B"}, "shortcut='A', shortcut_padding='both'"),
        ("alexnet_owt", {"activation": "tanh"}, "activation='relu'"),
        ("alexnet_owt", {"dropout_scaling": "test"}, "dropout_scaling='inverted'"),
    ],
)
def test_a_network_that_torch_would_compute_otherwise_is_not_written_in_its_names(tmp_path, model, options, named):
    spec = ModelSpec(model, options, 3, "softmax", dataclasses.replace(PREPROCESSING, image_size=224))
    with pytest.raises(InputError, match=f"there it would be another network, with {named}; write it in ours"):
        weights.save(TrainedModel(spec, {}, {}), tmp_path / "x.safetensors", names="torchvision")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("image_size", "last_map", "possible"), [(224, "whole", True), (256, "whole", False), (256, "averaged", True)]
)
def test_what_becomes_of_a_larger_map_matters_only_where_there_is_one(image_size, last_map, possible):
    preprocessing = dataclasses.replace(PREPROCESSING, image_size=image_size)
    spec = ModelSpec("alexnet_owt", {"last_map": last_map}, 3, "softmax", preprocessing)
    if possible:
        assert weights._torch_layout(spec)
    else:
        with pytest.raises(InputError, match="last_map='averaged'"):
            weights._torch_layout(spec)


@pytest.mark.parametrize("model", ["alexnet_cifar", "plain18"])
def test_a_network_without_a_form_in_torch_says_so(tmp_path, model):
    spec = ModelSpec(model, {}, 3, "softmax", PREPROCESSING)
    with pytest.raises(InputError, match=f"{model} is not written in torchvision's names"):
        weights.save(TrainedModel(spec, {}, {}), tmp_path / "x.safetensors", names="torchvision")
    with pytest.raises(InputError, match="names is 'torch'"):
        weights.save(TrainedModel(spec, {}, {}), tmp_path / "x.safetensors", names="torch")
