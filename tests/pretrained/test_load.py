"""Published weights as networks: what their origin implies, what may be asked for besides, and what does not fit."""

import dataclasses

import numpy as np
import pytest

from resnet_alexnet import pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import load as load_module
from resnet_alexnet.pretrained import torchvision, weights
from resnet_alexnet.pretrained.state_dict import StateDict
from tests.pretrained.test_weights import TORCHS, assert_same, create

OPTIONS = {
    "cifar_resnet8": {"shortcut": "A", "shortcut_padding": "both", "activation": "relu", "bn_unbiased_variance": True},
    "resnet18": {"shortcut": "B", "pool_padding": "torch", "activation": "relu", "bn_unbiased_variance": True},
    "resnet50": {
        **{"shortcut": "B", "pool_padding": "torch", "activation": "relu", "bn_unbiased_variance": True},
        "stride_in": "3x3",
    },
}


def published(model="cifar_resnet8", num_classes=10) -> StateDict:
    """Weights as others publish them: in their names, without a description."""
    layout = torchvision.layout(model, 224)
    network = create(model, num_classes=num_classes, **layout.options)
    return StateDict(pretrained.mapping.to_theirs(layout.table, network.leaves()), {})


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
    assert load(published(), preprocessing=stated).spec.preprocessing is stated
    stated = dataclasses.replace(stated, classes=("a", "b"))
    with pytest.raises(InputError, match=r"x\.pth has 10 logits, but 2 class names"):
        load(published(), preprocessing=stated)


def test_the_number_of_classes_that_is_expected_is_checked():
    assert load(published(), num_classes=10).spec.num_logits == 10
    with pytest.raises(InputError, match=r"x\.pth has 10 logits, not 100"):
        load(published(), num_classes=100)


@pytest.mark.parametrize(
    "options", [{"shortcut": "A"}, {"bn_group": 4, "bn_momentum": 0.5}, {"bn_unbiased_variance": False}]
)
def test_options_that_agree_or_that_the_weights_do_not_mind_may_be_set(options):
    spec = load(published(), **options).spec
    assert spec.options == {**OPTIONS["cifar_resnet8"], **options}


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("cifar_resnet8", {"shortcut_padding": "behind"}, "shortcut_padding='behind' does not match .* need .*='both'"),
        ("cifar_resnet8", {"activation": "tanh"}, "activation='tanh' does not match the weights in x.pth"),
        ("cifar_resnet8", {"shortcut": "C"}, "shortcut='C' does not match"),
        ("resnet18", {"pool_padding": "caffe"}, "which need pool_padding='torch'"),
        ("resnet50", {"stride_in": "1x1", "bn_group": 2}, "^stride_in='1x1' does not match .* need stride_in='3x3'"),
        ("resnet18", {"stride_in": "3x3"}, "only bottleneck networks|stride_in='3x3' does not match"),
        ("resnet18", {"pool_paddin": "torch"}, "did you mean 'pool_padding'"),
        ("resnet18", {"image_size": 32}, "option of resnet18 is 'image_size'"),
        ("resnet18", {"bn_group": 0}, "bn_group is 0"),
    ],
)
def test_an_option_that_conflicts_with_the_weights_is_an_error(model, options, message):
    with pytest.raises(InputError, match=message):
        load(published(model), model, **options)


def test_dropout_may_change_unless_the_weights_were_trained_to_be_scaled_when_tested(tmp_path):
    spec = create("alexnet_owt", image_size=63).spec
    assert load_module._with_options(spec, {"dropout": 0.1, "last_map": "averaged"}, "x").options["dropout"] == 0.1
    spec = create("alexnet_owt", image_size=63, dropout_scaling="test").spec
    with pytest.raises(InputError, match=r"dropout=0\.1 does not match the weights in x, which need dropout='the def"):
        load_module._with_options(spec, {"dropout": 0.1}, "x")


def test_a_file_without_a_description_needs_the_models_name():
    with pytest.raises(InputError, match=r"resnet_alexnet.pretrained.convert --model=NAME --input=x.pth --output=FILE"):
        load(published(), model=None)
    with pytest.raises(InputError, match="unknown model 'cifar_resnet9', did you mean"):
        load(published(), model="cifar_resnet9")
    with pytest.raises(InputError, match="alexnet_cifar has no weights with torchvision's names"):
        load(published(), model="alexnet_cifar")


def test_a_file_with_a_description_knows_its_model(tmp_path):
    network, path = create("cifar_resnet8", **TORCHS), tmp_path / "x.safetensors"
    for names in weights.NAMES:
        weights.save(network, path, names=names)
        assert_same(pretrained.load_network(path), network)
        assert_same(pretrained.load_network(path, model="cifar_resnet8", num_classes=3, shortcut="A"), network)
        with pytest.raises(InputError, match=f"{path} holds the weights of cifar_resnet8, not of cifar_resnet14"):
            pretrained.load_model(path, "cifar_resnet14")
        with pytest.raises(InputError, match="shortcut='B' does not match"):
            pretrained.load_model(path, "cifar_resnet8", shortcut="B")


def test_our_names_without_the_description_are_not_enough():
    with pytest.raises(InputError, match=r"x.pth has lost the metadata"):
        load(StateDict(create("cifar_resnet8").leaves(), {}))


@pytest.mark.parametrize(
    ("contents", "model", "message"),
    [
        (published("resnet18"), "resnet34", "x.pth, as resnet34: .* missing .*layer"),
        (published("resnet50"), "resnet18", "165 unexpected .*; 24 of another shape .*fc.weight is"),
        (published("resnet18"), "alexnet_owt", "features.0.weight"),
        (StateDict({"a": np.ones(3)}, {}), "resnet18", r"unexpected \(a\)"),
    ],
)
def test_weights_of_another_network_are_said_to_be(contents, model, message):
    with pytest.raises(InputError, match=message) as error:
        load(contents, model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_their_own_name(value):
    contents = published()
    contents.arrays["layer1.0.conv1.weight"][0, 1, 2, 0] = value
    with pytest.raises(InputError, match=r"x.pth holds weights that are not finite, in 1 .*layer1.0.conv1.weight"):
        load(contents)
