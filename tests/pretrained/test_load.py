"""Published weights as networks: what their origin implies, what may be asked for besides, and what does not fit."""

import dataclasses
import sys

import numpy as np
import pytest

from resnet_alexnet import pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import load as load_module
from resnet_alexnet.pretrained import weights
from resnet_alexnet.pretrained.state_dict import WeightFile
from tests.support.guests import write_lenet
from tests.support.networks import TORCH_OPTIONS, assert_same_network, create_network, published

OPTIONS = {
    "cifar_resnet8": {"shortcut": "A", "shortcut_padding": "both", "activation": "relu", "bn_unbiased_variance": True},
    "resnet18": {"shortcut": "B", "pool_padding": "torch", "activation": "relu", "bn_unbiased_variance": True},
    "resnet50": {
        **{"shortcut": "B", "pool_padding": "torch", "activation": "relu", "bn_unbiased_variance": True},
        "stride_in": "3x3",
    },
}


def load(contents, model="cifar_resnet8", **arguments):
    return pretrained.network_of(contents, where="x.pth", model=model, **arguments)


@pytest.mark.parametrize("model", OPTIONS)
def test_the_origin_of_the_weights_sets_the_options(model):
    assert load(published(model), model).spec.options == OPTIONS[model]


def test_classes_and_preprocessing_are_the_usual_of_such_weights():
    spec = load(published()).spec
    assert (spec.num_logits, spec.scores) == (10, "softmax")
    assert spec.preprocessing.classes[:3] == ("airplane", "automobile", "bird")
    spec = load(published("resnet18", 1000), "resnet18").spec
    assert (spec.num_logits, spec.preprocessing.classes[0]) == (1000, "n01440764")
    assert load(published("resnet18", 4), "resnet18").spec.preprocessing.classes == ("0", "1", "2", "3")


def test_other_preprocessing_may_be_stated():
    stated = dataclasses.replace(load(published()).spec.preprocessing, classes=tuple("abcdefghij"))
    assert load(published(), restate=lambda usual: stated).spec.preprocessing is stated
    stated = dataclasses.replace(stated, classes=("a", "b"))
    with pytest.raises(InputError, match=r"x\.pth has 10 logits, but 2 class names"):
        load(published(), restate=lambda usual: stated)


def test_the_number_of_classes_that_is_expected_is_checked():
    assert load(published(), num_classes=10).spec.num_logits == 10
    with pytest.raises(InputError, match=r"x\.pth has 10 logits, not 100"):
        load(published(), num_classes=100)


@pytest.mark.parametrize(
    "options",
    [
        {"shortcut": "A"},
        {"bn_group": 4, "bn_momentum": 0.5},
        {"bn_unbiased_variance": False},
        {"shortcut_padding": "behind", "activation": "tanh"},
    ],
)
def test_options_that_agree_or_that_the_weights_do_not_mind_may_be_set(options):
    spec = load(published(), **options).spec
    assert spec.options == {**OPTIONS["cifar_resnet8"], **options}


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            "cifar_resnet8",
            {"shortcut": "C"},
            "shortcut='C' does not match the arrays in x.pth, which show shortcut='A'",
        ),
        ("resnet18", {"shortcut": "A"}, "shortcut='A' does not match the arrays in x.pth, which show shortcut='B'"),
        ("resnet18", {"shortcut_padding": "behind"}, "only shortcut='A' pads"),
        ("resnet18", {"width": 32}, "width=32 does not match"),
        ("resnet18", {"stride_in": "3x3"}, "only bottleneck networks"),
        ("resnet18", {"pool_paddin": "torch"}, "did you mean 'pool_padding'"),
        ("resnet18", {"image_size": 32}, "option of resnet18 is 'image_size'"),
        ("resnet18", {"bn_group": 0}, "bn_group is 0"),
    ],
)
def test_an_option_that_conflicts_with_the_weights_is_an_error(model, options, message):
    with pytest.raises(InputError, match=message):
        load(published(model), model, **options)


def test_dropout_may_change_unless_the_weights_were_trained_to_be_scaled_when_tested(tmp_path):
    spec = create_network("alexnet_owt", size=63).spec
    assert load_module._with_options(spec, {"dropout": 0.1, "last_map": "averaged"}, "x").options["dropout"] == 0.1
    spec = create_network("alexnet_owt", size=63, dropout_scaling="test").spec
    with pytest.raises(InputError, match=r"dropout=0\.1 does not match the weights in x, which need dropout='the def"):
        load_module._with_options(spec, {"dropout": 0.1}, "x")


def test_the_arrays_of_a_file_without_a_description_show_the_model():
    assert load(published(), model=None).spec.model == "cifar_resnet8"
    with pytest.raises(InputError, match="unknown model 'cifar_resnet9', did you mean"):
        load(published(), model="cifar_resnet9")
    with pytest.raises(InputError, match="holds the weights of cifar_resnet8, not of alexnet_cifar"):
        load(published(), model="alexnet_cifar")


def test_a_file_with_a_description_knows_its_model(tmp_path):
    network, path = create_network("cifar_resnet8", size=32, **TORCH_OPTIONS), tmp_path / "x.safetensors"
    for names in weights.NAMES:
        weights.save(network, path, names=names)
        assert_same_network(pretrained.load_network(path), network)
        assert_same_network(pretrained.load_network(path, model="cifar_resnet8", num_classes=3, shortcut="A"), network)
        with pytest.raises(InputError, match=f"{path} holds the weights of cifar_resnet8, not of cifar_resnet14"):
            pretrained.load_model(path, "cifar_resnet14")
        with pytest.raises(InputError, match="shortcut='B' does not match"):
            pretrained.load_model(path, "cifar_resnet8", shortcut="B")


def test_a_weight_file_makes_nobody_run_code(tmp_path, monkeypatch):
    """That of a user's own network is read where its class is named, wherever the file now lies."""
    monkeypatch.setattr("sys.path", list(sys.path))
    path, moved = tmp_path / "w.safetensors", tmp_path / "moved"
    moved.mkdir()
    network = create_network(write_lenet(tmp_path), size=8, channels=1)
    weights.save(network, path)
    (tmp_path / "lenet.py").unlink()
    name = write_lenet(moved)
    for model in (None, "resnet18", f"{moved}/lenet.py:Other"):
        with pytest.raises(InputError, match=r"whose code is run only if it is named: pretrained.load_model\('"):
            pretrained.load_network(path, model=model)
    again = pretrained.load_network(path, model=name)
    assert again.spec.model == name
    assert again.leaves().keys() == network.leaves().keys()


def test_our_names_without_the_description_are_not_enough():
    with pytest.raises(InputError, match=r"x.pth has lost the metadata"):
        load(WeightFile({"": create_network("cifar_resnet8", size=32).leaves()}, {}))


ALEXNET = WeightFile({"": {"features.0.weight": np.zeros((64, 3, 11, 11), np.float32)}}, {})


@pytest.mark.parametrize(
    ("contents", "model", "message"),
    [
        (published("resnet18"), "resnet34", "x.pth holds the weights of resnet18, not of resnet34"),
        (published("resnet50"), "resnet18", "holds the weights of resnet50, not of resnet18"),
        (published("resnet18"), "alexnet_owt", "holds the weights of resnet18, not of alexnet_owt"),
        (ALEXNET, "alexnet", "torchvision's alexnet, of one tower, which is alexnet_owt here"),
        (WeightFile({"": {"a": np.ones((3, 3))}}, {}), "resnet18", r"1 arrays, but no network under .* known \(a\)"),
    ],
)
def test_weights_of_another_network_are_said_to_be(contents, model, message):
    with pytest.raises(InputError, match=message) as error:
        load(contents, model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_their_own_name(value):
    contents = published()
    contents.state_dicts[""]["layer1.0.conv1.weight"][0, 1, 2, 0] = value
    with pytest.raises(InputError, match=r"x.pth holds weights that are not finite, in 1 .*layer1.0.conv1.weight"):
        load(contents)
