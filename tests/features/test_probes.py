"""Probes against slow loops and scipy's solver, and on features whose classes are known to be told apart or not."""

import inspect

import numpy as np
import pytest
from scipy.optimize import minimize

from resnet_alexnet.features import probes
from resnet_alexnet.features.probes import PENALTIES, Examples, find_stages, fit, probe, vote
from tests.support import toy_nets
from tests.support.networks import create_network


def clusters(count, *, features=5, classes=3, noise=0.1, seed=0):
    """Images around a center for each class; with much noise the classes overlap."""
    centers = np.random.default_rng(99).normal(size=(classes, features))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count).astype(np.int32)
    return Examples((centers[labels] + noise * rng.normal(size=(count, features))).astype(np.float32), labels)


@pytest.mark.parametrize(
    ("model", "options", "stages"),
    [
        (
            "cifar_resnet14",
            {"size": 8},
            {"stem": "stages.0.0.conv1.conv", "stages.0": "stages.1.0.conv1.conv", "stages.1": "stages.2.0.conv1.conv"}
            | {"stages.2": "head"},
        ),
        (
            "alexnet_cifar",
            {"size": 8},
            {"conv1": "conv2", "conv2": "local3", "local3": "local4", "local4": "fc"},
        ),
        (
            "alexnet",
            {"size": 224},
            {f"conv{i}": f"conv{i + 1}" for i in range(1, 5)} | {"conv5": "fc6", "fc6": "fc7", "fc7": "fc8"},
        ),
        (f"{inspect.getfile(toy_nets)}:SmallNet", {"size": 8}, {"conv1": "fc2"}),
    ],
)
def test_the_stages_are_what_the_next_ones_take(model, options, stages):
    found = find_stages(create_network(model, **options))
    assert {name: layer.name for name, layer in found.items()} == {
        name: f"{path}:input" for name, path in stages.items()
    }
    assert list(found) == list(stages)
    assert all(layer.pool == "mean" for layer in found.values())


@pytest.mark.parametrize("l2", [0.3, 1e-3])
def test_the_linear_probe_has_the_lowest_loss_as_scipys_solver_finds_it(l2):
    x, y = clusters(60, noise=1.5)
    one_hot = np.eye(3)[y]

    def loss(flat):
        kernel, bias = flat[:15].reshape(5, 3), flat[15:]
        logits = x.astype(np.float64) @ kernel + bias
        log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
        slope = (np.exp(logits - log_sum[:, None]) - one_hot) / len(x)
        gradient = np.concatenate([(x.T @ slope + l2 * kernel).ravel(), slope.sum(0)])
        return (log_sum - logits[np.arange(len(x)), y]).mean() + l2 / 2 * (kernel**2).sum(), gradient

    expected = minimize(loss, np.zeros(18), jac=True, method="BFGS", options={"gtol": 1e-8})
    start = {"kernel": np.full((5, 3), 0.5, np.float32), "bias": np.zeros(3, np.float32)}
    found = fit(start, x, y, l2)
    np.testing.assert_allclose(found["kernel"], expected.x[:15].reshape(5, 3), atol=0.02)
    assert loss(np.concatenate([np.ravel(found["kernel"]), found["bias"]]))[0] == pytest.approx(expected.fun, abs=1e-5)


def test_neighbors_vote_as_in_a_slow_loop():
    train, test = clusters(70, noise=1.5), clusters(300, noise=1.5, seed=1)
    train.features[3] = 0
    expected = []
    for query in test.features.astype(np.float64):
        cosines = [
            0.0 if not one.any() else query @ one / np.sqrt((query @ query) * (one @ one))
            for one in train.features.astype(np.float64)
        ]
        nearest = sorted(range(70), key=lambda i: -cosines[i])[:4]
        votes = [sum(train.labels[i] == label for i in nearest) for label in range(3)]
        expected.append(votes.index(max(votes)))
    assert vote(train, test.features, num_classes=3, k=4).tolist() == expected
    assert len(set(expected)) == 3
    everyone = vote(train, test.features[:2], num_classes=3, k=1000)
    assert everyone.tolist() == [np.bincount(train.labels).argmax()] * 2


def test_classes_far_apart_are_told_apart_and_noise_is_not():
    apart = probe(clusters(60), clusters(40, seed=1), clusters(50, seed=2), num_classes=3, k=5)
    assert apart["features"] == 5
    assert apart["linear"] == {"accuracy": 100, "validation_accuracy": 100, "train_accuracy": 100, "l2": PENALTIES[0]}
    assert apart["knn"] == {"accuracy": 100}
    rng = np.random.default_rng(0)
    parts = [Examples(rng.normal(size=(400, 5)).astype(np.float32), rng.integers(0, 3, 400)) for _ in range(3)]
    parts[0] = Examples(*(array[:60] for array in parts[0]))
    noise = probe(*parts, num_classes=3, k=5)
    assert noise["linear"]["accuracy"] == pytest.approx(100 / 3, abs=12)  # five standard errors
    right = noise["linear"]["accuracy"] * 4  # of 400 images, so a whole number
    assert right == pytest.approx(round(right), abs=1e-9)
    assert noise["knn"]["accuracy"] == pytest.approx(100 / 3, abs=12)


def test_the_scale_of_a_feature_does_not_matter_nor_does_one_that_is_constant():
    parts = [clusters(60, noise=1.5, seed=seed) for seed in range(3)]
    plain = probe(*parts, num_classes=3, k=5)
    scale, shift = np.array([2.0**13, 2.0**-10, 1, 8, 64], np.float32), np.array([3, 0, -100, 1, 0], np.float32)
    scaled = [Examples(part.features * scale, part.labels) for part in parts]
    assert probe(*scaled, num_classes=3, k=5) == plain
    moved = probe(*[Examples(part.features + shift, part.labels) for part in parts], num_classes=3, k=5)
    for kind in ("linear", "knn"):  # of 60 images one may change sides, by rounding
        assert moved[kind]["accuracy"] == pytest.approx(plain[kind]["accuracy"], abs=2)
    constant = [Examples(np.pad(part.features, ((0, 0), (0, 1)), constant_values=7), part.labels) for part in parts]
    assert probe(*constant, num_classes=3, k=5) == {**plain, "features": 6}


def test_the_penalty_is_that_of_the_best_validation_accuracy_and_the_test_split_is_not_looked_at(monkeypatch):
    train, validation, test = (clusters(40, features=30, noise=4.0, seed=seed) for seed in range(3))
    found = probe(train, validation, test, num_classes=3, k=5)["linear"]
    alone = []
    for l2 in PENALTIES:
        monkeypatch.setattr(probes, "PENALTIES", (l2,))
        alone.append(probe(train, validation, test, num_classes=3, k=5)["linear"])
    best = max(alone, key=lambda one: one["validation_accuracy"])
    assert found == best
    assert len({one["validation_accuracy"] for one in alone}) > 1
    monkeypatch.setattr(probes, "PENALTIES", PENALTIES)
    other = Examples(test.features, (test.labels + 1) % 3)
    assert probe(train, validation, other, num_classes=3, k=5)["linear"]["l2"] == found["l2"]
