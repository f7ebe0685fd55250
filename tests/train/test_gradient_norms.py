"""Norms of gradients: against automatic differentiation by hand, and where they are known."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from resnet_alexnet import losses, parallel
from resnet_alexnet.paths import is_within
from resnet_alexnet.train import steps
from resnet_alexnet.train.gradient_norms import create_gradient_norms
from resnet_alexnet.train.model import Model
from tests.support import toy_nets
from tests.support.networks import create_network


def measure(network, batch, *, devices=1, frozen=(), augment=lambda image, keys: image):
    spec = network.spec
    model = Model(spec, spec.graphdef(), spec.shapes(), {}, partial(is_within, prefixes=frozen), (), {})
    return create_gradient_norms(
        model,
        batch,
        loss=losses.create_loss("softmax_cross_entropy"),
        preprocess=partial(steps.preprocess_batch, normalize=spec.preprocessing.normalize, augment=augment, mix=None),
        seed=3,
        mesh=parallel.create_mesh(jax.devices()[:devices]),
    )(network)


def make_batch(count, channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 8, 8, channels), np.uint8)
    return {"image": images, "label": rng.integers(0, 3, count).astype(np.int32)}


@pytest.fixture(scope="module")
def by_hand():
    """A network, a batch, and the loss and its gradient with the statistics of two images at a time."""
    network, batch = create_network(size=8, bn_group=2), make_batch(8, 3)
    image = network.spec.preprocessing.normalize(jnp.asarray(batch["image"]))

    def objective(params):
        model = nnx.merge(network.spec.graphdef(), params, network.batch_stats, copy=True)
        return optax.softmax_cross_entropy_with_integer_labels(model(image, train=True), batch["label"]).mean()

    return network, batch, jax.jit(jax.value_and_grad(objective))(network.params)


@pytest.mark.parametrize("devices", [1, 4])
def test_norms_are_those_of_the_gradient_with_the_statistics_of_the_batch(by_hand, devices):
    network, batch, (value, gradient) = by_hand
    loss, norms = measure(network, batch, devices=devices)
    assert loss == pytest.approx(float(value), rel=1e-5)
    for name in ("stem/conv1/conv/kernel", "stages/1/0/conv2/conv/kernel", "stages/2/0/conv1/norm/scale", "head/bias"):
        leaf = gradient
        for key in name.split("/"):
            leaf = leaf[int(key) if key.isdecimal() else key]
        assert norms[name] == pytest.approx(np.linalg.norm(leaf), rel=1e-3)
    assert len(norms) == len(jax.tree.leaves(network.params))


def test_the_gradient_of_a_classifier_of_zeros_is_known():
    """All classes have probability 1/3, so the gradient is the mean of features times (1/3 - one-hot label)."""
    network, batch = create_network(f"{inspect.getfile(toy_nets)}:SmallNetWithoutNorm", size=8), make_batch(6, 3)
    network.params["fc2"] |= {name: np.zeros_like(array) for name, array in network.params["fc2"].items()}
    x = network.spec.preprocessing.normalize(jnp.asarray(batch["image"]))
    features = np.maximum(network.module().conv1(x), 0).mean((1, 2))
    rest = 1 / 3 - np.eye(3)[batch["label"]]
    loss, norms = measure(network, batch, devices=2)
    assert loss == pytest.approx(np.log(3))
    assert norms["fc2/kernel"] == pytest.approx(np.linalg.norm(features.T @ rest / 6), rel=1e-5)
    assert norms["fc2/bias"] == pytest.approx(np.linalg.norm(rest.mean(0)), rel=1e-5)
    assert norms["conv1/kernel"] == 0


def test_frozen_layers_have_no_gradient_and_images_are_augmented():
    network, batch = create_network(f"{inspect.getfile(toy_nets)}:SmallNetWithoutNorm", size=8), make_batch(6, 3)
    loss, norms = measure(network, batch, frozen=("conv1",))
    assert norms.keys() == {"fc2/bias", "fc2/kernel"}
    black, _ = measure(network, {**batch, "image": np.zeros_like(batch["image"])})
    assert loss != pytest.approx(black)
    mean = network.spec.preprocessing.normalize(jnp.zeros((1, 8, 8, 3), jnp.uint8))
    augmented, _ = measure(network, batch, augment=lambda image, keys: jnp.broadcast_to(mean, image.shape))
    assert augmented == pytest.approx(black)
