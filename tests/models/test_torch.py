"""Whole networks against the same networks written in torch, with the same weights, at a small image size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet.models.layers import observe
from tests.support.networks import create_network, initialized
from tests.support.torch_layers import F, TorchResNet, conv, fc, fc_of_map, pool, torch


def create(name, image_size, **options):
    return create_network(name, size=image_size, num_classes=10, **options).module()


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def torch_alexnet(model, x):
    def norm(x):
        return F.local_response_norm(x, 5, alpha=1e-2, beta=0.75, k=2.0)

    x = pool(norm(F.relu(conv(x, model.conv1, 4, 2))))
    x = pool(norm(F.relu(conv(x, model.conv2, 1, 2, groups=2))))
    x = F.relu(conv(x, model.conv3, 1, 1))
    x = F.relu(conv(x, model.conv4, 1, 1, groups=2))
    x = pool(F.relu(conv(x, model.conv5, 1, 1, groups=2)))
    return fc(F.relu(fc(F.relu(fc_of_map(x, model.fc6)), model.fc7)), model.fc8)


def torch_alexnet_owt(model, x):
    x = pool(F.relu(conv(x, model.conv1, 4, 2)))
    x = pool(F.relu(conv(x, model.conv2, 1, 2)))
    x = F.relu(conv(x, model.conv3, 1, 1))
    x = F.relu(conv(x, model.conv4, 1, 1))
    x = F.adaptive_avg_pool2d(pool(F.relu(conv(x, model.conv5, 1, 1))), 6)
    return fc(F.relu(fc(F.relu(fc_of_map(x, model.fc6)), model.fc7)), model.fc8)


def assert_close(ours, theirs, tolerance=1e-4):
    """To `tolerance` of the largest number."""
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def images(size, scale=1.0):
    x = scale * normal(1, 2, size, size, 3)
    return jnp.asarray(x), torch.tensor(x.transpose(0, 3, 1, 2))


def test_alexnet_across_towers_is_torchs_with_groups():
    model = create("alexnet", 63, lrn_across_towers=True, lrn_alpha_over_size=True, lrn_alpha=1e-2)
    ours, theirs = images(63, scale=30.0)
    assert_close(nnx.jit(lambda m, x: m(x))(model, ours), torch_alexnet(model, theirs))


@pytest.fixture(scope="module")
def owt():
    return create("alexnet_owt", 127)


@pytest.mark.parametrize("size", [80, 127])
def test_alexnet_owt_is_torchvisions_at_any_size(owt, size):
    ours, theirs = images(size)
    assert_close(nnx.jit(lambda m, x: m(x))(owt, ours), torch_alexnet_owt(owt, theirs))


def test_alexnet_owt_drops_the_inputs_of_its_two_hidden_layers(owt):
    seen = []

    @nnx.jit
    def run(model, image, keys):
        names = {id(module): path[-1] for path, module in nnx.iter_modules(model) if path}
        dropped = {}
        with observe(lambda layer, x, y: (seen.append(names[id(layer)]), dropped.update({seen[-1]: (x, y)}))):
            model(image, train=True, rngs=keys)
        return {name: dropped[name] for name in ("dropout5", "dropout6")}

    for x, y in run(owt, images(63)[0], jax.random.split(jax.random.key(0), 2)).values():
        np.testing.assert_allclose(y[y != 0], 2 * x[y != 0], rtol=1e-6)
        assert abs(np.mean(y[x != 0] == 0) - 0.5) < 0.1
    assert seen[-6:] == ["pool5", "dropout5", "fc6", "dropout6", "fc7", "fc8"]


def test_alexnet_owt_starts_as_torchs_layers():
    owt = initialized("alexnet_owt", image_size=63)
    fan_in = {"conv1": 363, "conv2": 1600, "conv3": 1728, "conv4": 3456, "conv5": 2304, "fc6": 9216}
    for layer, inputs in (fan_in | {"fc7": 4096, "fc8": 4096}).items():
        bound = inputs**-0.5
        for variable in (getattr(owt, layer).kernel, getattr(owt, layer).bias):
            sample = np.asarray(variable.get_value())
            assert np.abs(sample).max() <= bound
            assert abs(sample.mean()) < 4 * bound / np.sqrt(3 * sample.size)
            assert abs(sample.std() * np.sqrt(3) / bound - 1) < 4 / np.sqrt(2 * sample.size)


@pytest.mark.parametrize(
    ("name", "options"), [("resnet18", {"shortcut": "B"}), ("resnet50", {"shortcut": "B", "stride_in": "3x3"})]
)
def test_resnets_are_torchvisions_in_training_and_evaluation(name, options):
    model = create(name, 64, pool_padding="torch", bn_unbiased_variance=True, **options)
    for seed, (_, node) in enumerate(nnx.iter_graph(model)):
        if isinstance(node, nnx.Variable) and node.get_value().ndim == 1:  # norms that do something of their own
            node.set_raw_value(jnp.asarray(0.8 + 0.1 * np.abs(normal(seed, node.get_value().size))))
    ours, theirs = images(64)
    apply = nnx.jit(lambda model, x, train: model(x, train=train), static_argnums=2)
    assert_close(apply(model, ours, False), TorchResNet(model, train=False)(theirs))
    reference = TorchResNet(model, train=True)
    logits = reference(theirs)
    assert_close(apply(model, ours, True), logits, tolerance=1e-3)  # statistics of eight numbers in the last stage
    for norm, mean, var in reference.running:
        assert_close(norm.mean.get_value(), mean)
        assert_close(norm.var.get_value(), var, tolerance=1e-3)


def test_a_published_stem_pads_its_pooling_at_the_far_side_only():
    """He's ceil mode is torch's ceil_mode without padding; on 224 pixels both give 56."""
    stem = create("plain18", 224).stem
    ours, theirs = images(31)
    convolved = TorchResNet(None, train=False).conv_norm(theirs, stem.conv1, 2, 3)
    expected = F.max_pool2d(F.relu(convolved), 3, 2, ceil_mode=True)
    assert_close(nnx.jit(lambda m, x: m(x, train=False))(stem, ours), expected.permute(0, 2, 3, 1))
