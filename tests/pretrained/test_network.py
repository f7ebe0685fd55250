"""A network's description: which options make another network of it, and what of its weights does not fit."""

import dataclasses

import numpy as np
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.network import ModelSpec, differing_options, from_leaves, probabilities
from tests.support.networks import create_network


@pytest.mark.parametrize(
    ("given", "differing"),
    [
        ({}, []),
        ({"shortcut": "B", "activation": "relu"}, []),
        ({"shortcut": "C", "activation": "relu"}, ["shortcut"]),
        ({"shortcut": "A", "activation": "tanh"}, ["shortcut", "activation"]),
        ({"bn_group": 4, "bn_momentum": 0.5, "zero_init_last_gamma": True}, []),
        ({"shortcut": "D"}, ["shortcut"]),
    ],
)
def test_options_that_make_another_network_are_named(given, differing):
    spec = create_network("cifar_resnet8", shortcut="B").spec
    assert differing_options(spec, given) == differing


def test_dropout_is_another_network_only_where_it_scales_what_is_tested():
    spec = create_network("alexnet_owt", size=63).spec
    assert differing_options(spec, {"dropout": 0.2}) == []
    tested = dataclasses.replace(spec, options={"dropout_scaling": "test"})
    assert differing_options(tested, {"dropout": 0.2}) == ["dropout"]


def test_a_description_comes_back_from_json():
    spec = create_network("cifar_resnet8", shortcut="C", shorter_side=20).spec
    again = ModelSpec.from_json(spec.to_json())
    assert again.to_json() == spec.to_json()
    assert again.preprocessing.mean.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet19"}, "unknown model 'resnet19', did you mean"),
        ({"options": {"shortcuts": "A"}}, "shortcuts"),
        ({"scores": "max"}, "scores is 'max'"),
        ({"preprocessing": {}}, "the metadata of the network is damaged"),
        ({"options": 3}, "the metadata of the network is damaged"),
        ({"extra": 3}, "the metadata of the network is damaged"),
    ],
)
def test_a_description_of_something_else_is_refused(change, message):
    values = create_network().spec.to_json()
    with pytest.raises(InputError, match=message):
        ModelSpec.from_json({**values, **change})


def test_all_that_does_not_fit_is_said_at_once():
    network = create_network("cifar_resnet8")
    leaves = network.leaves()
    leaves["params/head/weight"] = leaves.pop("params/head/kernel")
    leaves["params/head/bias"] = np.zeros(7, np.float32)
    with pytest.raises(InputError) as error:
        from_leaves(network.spec, leaves, where="the file")
    for part in ("the file does not hold", "1 missing (params/head/kernel)", "1 unexpected (params/head/weight)"):
        assert part in str(error.value)
    assert "1 of another shape (params/head/bias is (7,), not (3,))" in str(error.value)


def test_weights_that_are_no_numbers_are_refused():
    network = create_network("cifar_resnet8")
    leaves = network.leaves()
    leaves["batch_stats/stem/conv1/norm/var"][3] = np.nan
    with pytest.raises(InputError, match=r"not finite, in 1 arrays \(batch_stats/stem/conv1/norm/var\)"):
        from_leaves(network.spec, leaves, where="the file")


def test_negative_variances_are_refused():
    network = create_network("cifar_resnet8")
    leaves = network.leaves()
    leaves["batch_stats/stem/conv1/norm/var"][3] = -1
    with pytest.raises(InputError, match=r"negative variances, in 1 arrays \(batch_stats/stem/conv1/norm/var\)"):
        from_leaves(network.spec, leaves, where="the file")


def test_probabilities_by_softmax_by_logistic_units_and_of_a_single_logit():
    logits = np.array([[1.0, 3.0, -2.0]], np.float32)
    np.testing.assert_allclose(probabilities(logits, "softmax"), np.exp(logits) / np.exp(logits).sum(), rtol=1e-6)
    np.testing.assert_allclose(probabilities(logits, "sigmoid"), 1 / (1 + np.exp(-logits)), rtol=1e-6)
    for scores in ("softmax", "sigmoid"):
        positive = 1 / (1 + np.exp(-0.5))
        single = probabilities(np.array([[0.5]], np.float32), scores)
        np.testing.assert_allclose(single, [[1 - positive, positive]], rtol=1e-6)
