"""Local response and batch normalization against their formulas and against torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, PartitionSpec

from resnet_alexnet.errors import InputError
from resnet_alexnet.models.normalization import BATCH_AXIS, BatchNorm, LocalResponseNorm

torch = pytest.importorskip("torch")


def normal(seed, *shape, scale=1.0):
    return scale * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def lrn_loop(a, size, k, alpha, beta):
    """[K12] section 3.3, as written."""
    b, n = np.empty_like(a), a.shape[-1]
    for i in range(n):
        total = 0.0
        for j in range(max(0, i - size // 2), min(n - 1, i + size // 2) + 1):
            total = total + a[..., j].astype(np.float64) ** 2
        b[..., i] = a[..., i] / (k + alpha * total) ** beta
    return b


@settings(max_examples=12)
@given(
    channels=st.integers(1, 9),
    size=st.sampled_from([1, 3, 5, 9]),
    k=st.floats(0.5, 3),
    alpha=st.floats(0, 1),
    beta=st.sampled_from([0.5, 0.75, 1.0]),
    groups=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_lrn_is_the_papers_formula_within_each_group(channels, size, k, alpha, beta, groups, seed):
    x = normal(seed, 2, 1, 2, channels * groups, scale=3.0)
    ours = jax.jit(LocalResponseNorm(size=size, k=k, alpha=alpha, beta=beta, groups=groups))(x)
    runs = [lrn_loop(run, size, k, alpha, beta) for run in np.split(x, groups, axis=-1)]
    np.testing.assert_allclose(ours, np.concatenate(runs, -1), rtol=2e-5, atol=1e-6)


def test_lrn_defaults_are_the_papers():
    x = normal(0, 1, 2, 2, 12, scale=100.0)
    np.testing.assert_allclose(LocalResponseNorm()(jnp.asarray(x)), lrn_loop(x, 5, 2.0, 1e-4, 0.75), rtol=1e-5)


@pytest.mark.parametrize(("size", "beta"), [(5, 0.75), (9, 0.75), (3, 0.6)])
def test_lrn_with_alpha_over_size_and_its_gradient_are_torchs(size, beta):
    x, cotangent = normal(1, 2, 3, 4, 11, scale=2.0), normal(2, 2, 3, 4, 11)
    layer = LocalResponseNorm(size=size, k=1.5, alpha=0.3, beta=beta, alpha_over_size=True)
    ours, pull = jax.vjp(layer, jnp.asarray(x))
    theirs_in = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    theirs = torch.nn.LocalResponseNorm(size, alpha=0.3, beta=beta, k=1.5)(theirs_in)
    theirs.backward(torch.tensor(cotangent.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(ours, theirs.detach().permute(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
    gradient = theirs_in.grad.permute(0, 2, 3, 1)
    np.testing.assert_allclose(pull(jnp.asarray(cotangent))[0], gradient, rtol=1e-4, atol=1e-5)


def test_lrn_keeps_bfloat16_and_sums_in_float32():
    x = jnp.asarray(normal(3, 1, 2, 2, 96, scale=50.0), jnp.bfloat16)
    y = LocalResponseNorm()(x)
    assert y.dtype == jnp.bfloat16
    exact = lrn_loop(np.asarray(x, np.float32), 5, 2.0, 1e-4, 0.75)
    np.testing.assert_allclose(np.asarray(y, np.float32), exact, rtol=2**-8)


@pytest.mark.parametrize("size", [0, 4, -1])
def test_lrn_refuses_a_window_without_center(size):
    with pytest.raises(InputError, match=f"lrn_size={size}"):
        LocalResponseNorm(size=size)


def batch_norm(channels, seed=0, **options):
    """Ours with random scale and bias, and torch's with the same."""
    ours = BatchNorm(channels, **options)
    theirs = torch.nn.BatchNorm2d(channels, eps=1e-5, momentum=1 - options.get("momentum", 0.9))
    with torch.no_grad():
        for ours_part, theirs_part, seed_part in ((ours.scale, theirs.weight, 1), (ours.bias, theirs.bias, 2)):
            value = normal(seed + seed_part, channels)
            ours_part.set_raw_value(jnp.asarray(value))
            theirs_part.copy_(torch.tensor(value))
    return ours, theirs


def channels_last(x):
    return x.detach().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_batch_norm_trains_and_evaluates_as_torch(momentum):
    ours, theirs = batch_norm(3, momentum=momentum, unbiased_variance=True)
    for seed in range(3):
        x = normal(seed, 4, 3, 5, 3, scale=2.0) + 1.0
        y = ours(jnp.asarray(x), train=True)
        np.testing.assert_allclose(y, channels_last(theirs(torch.tensor(x.transpose(0, 3, 1, 2)))), atol=2e-5)
    np.testing.assert_allclose(ours.mean.get_value(), theirs.running_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.var.get_value(), theirs.running_var, rtol=1e-5)
    y = ours(jnp.asarray(x), train=False)
    np.testing.assert_allclose(y, channels_last(theirs.eval()(torch.tensor(x.transpose(0, 3, 1, 2)))), atol=2e-5)


def test_the_running_variance_is_the_batchs_own_by_default():
    ours, _ = batch_norm(2)
    x = normal(0, 2, 1, 2, 2)
    ours(jnp.asarray(x), train=True)
    np.testing.assert_allclose(ours.var.get_value(), 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("group", [None, 2, 3])
def test_batch_norm_groups_and_gradients_are_torch_norms_of_runs_of_images(group):
    ours, theirs = batch_norm(3, group=group, unbiased_variance=True)
    x, cotangent = normal(7, 6, 2, 3, 3, scale=3.0), normal(8, 6, 2, 3, 3)
    graphdef, params, rest = nnx.split(ours, nnx.Param, ...)

    def apply(params, x):
        layer = nnx.merge(graphdef, params, rest, copy=True)
        return layer(x, train=True), nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))

    y, pull, stats = jax.vjp(apply, params, jnp.asarray(x), has_aux=True)
    param_grads, x_grad = pull(jnp.asarray(cotangent))

    theirs.momentum = 1.0  # the running statistics are then the batch's own
    theirs_in = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    outputs, means, variances = [], [], []
    for run in theirs_in.split(group or 6):
        outputs.append(theirs(run))
        means.append(theirs.running_mean.clone())
        variances.append(theirs.running_var.clone())
    expected = torch.cat(outputs)
    expected.backward(torch.tensor(cotangent.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(y, channels_last(expected), atol=2e-5)
    np.testing.assert_allclose(x_grad, channels_last(theirs_in.grad), atol=2e-5)
    np.testing.assert_allclose(param_grads["scale"].get_value(), theirs.weight.grad, atol=1e-4)
    np.testing.assert_allclose(param_grads["bias"].get_value(), theirs.bias.grad, atol=1e-4)
    np.testing.assert_allclose(stats["mean"], 0.1 * torch.stack(means).mean(0), atol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * torch.stack(variances).mean(0), atol=1e-5)


def test_synchronized_batch_norm_over_devices_is_one_norm_over_all_images():
    ours, _ = batch_norm(3, group="sync", unbiased_variance=True)
    whole, _ = batch_norm(3, unbiased_variance=True)
    x = jnp.asarray(normal(4, 8, 2, 2, 3) + np.arange(8, dtype=np.float32)[:, None, None, None])
    graphdef, state = nnx.split(ours)

    def apply(x):
        layer = nnx.merge(graphdef, state, copy=True)
        return layer(x, train=True), layer.mean.get_value(), layer.var.get_value()

    mesh = jax.make_mesh((4,), (BATCH_AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    rows, everywhere = PartitionSpec(BATCH_AXIS), PartitionSpec()
    apply = jax.shard_map(apply, mesh=mesh, in_specs=rows, out_specs=(rows, everywhere, everywhere))
    y, mean, var = jax.jit(apply)(x)
    np.testing.assert_allclose(y, whole(x, train=True), atol=1e-5)
    np.testing.assert_allclose(mean, whole.mean.get_value(), rtol=1e-5)
    np.testing.assert_allclose(var, whole.var.get_value(), rtol=1e-5)


def test_batch_norm_in_bfloat16_keeps_float32_statistics():
    layer = BatchNorm(2)
    x = jnp.asarray(normal(5, 4, 3, 3, 2), jnp.bfloat16)
    assert layer(x, train=True).dtype == jnp.bfloat16
    assert layer(x, train=False).dtype == jnp.bfloat16
    assert layer.mean.get_value().dtype == layer.var.get_value().dtype == jnp.float32


@pytest.mark.parametrize("group", [0, -4, 2.5, "all"])
def test_a_bad_batch_norm_group_is_named(group):
    with pytest.raises(InputError, match="bn_group is"):
        BatchNorm(2, group=group)


def test_a_group_that_does_not_divide_the_batch_names_those_that_do():
    with pytest.raises(InputError, match=r"bn_group=4 does not divide the 6 images.*\[1, 2, 3, 6\]"):
        BatchNorm(2, group=4)(jnp.zeros((6, 1, 1, 2)), train=True)


@given(
    images=st.integers(1, 4),
    height=st.integers(1, 2),
    width=st.integers(1, 2),
    group=st.sampled_from([None, 1, "sync"]),
)
@settings(max_examples=20, deadline=None)
def test_one_value_per_channel_is_an_error_in_training_as_in_torch(images, height, width, group):
    _, theirs = batch_norm(3)
    layer = BatchNorm(3, group=group)
    x = normal(9, images, height, width, 3)
    together = x[:1] if group == 1 else x
    if in_torch_one_value(theirs, torch.tensor(together.transpose(0, 3, 1, 2))):
        with pytest.raises(InputError, match=f"over 1 value per channel.*input is {images} x 1 x 1 x 3"):
            in_training(layer, x)
    else:
        assert in_training(layer, x).shape == x.shape
    assert layer(jnp.asarray(x), train=False).shape == x.shape


def in_torch_one_value(layer, x):
    """Whether torch refuses to train on this input."""
    try:
        layer(x)
    except ValueError as error:
        return "Expected more than 1 value per channel when training" in str(error)
    return False


def in_training(layer, x):
    """As a step on one device calls a layer; nothing is computed."""
    graphdef, state = nnx.split(layer)
    mesh = jax.make_mesh((1,), (BATCH_AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    rows = PartitionSpec(BATCH_AXIS)

    def apply(x):
        return nnx.merge(graphdef, state, copy=True)(x, train=True)

    return jax.eval_shape(jax.shard_map(apply, mesh=mesh, in_specs=rows, out_specs=rows), x)


def test_layers_with_inputs_of_one_shape_are_traced_once():
    def apply(x):
        return BatchNorm(4)(BatchNorm(4)(x, train=True), train=True)

    equations = jax.make_jaxpr(apply)(jnp.ones((2, 3, 3, 4))).eqns
    inner = [equation.params["jaxpr"] for equation in equations if equation.params.get("name") == "_normalize_groups"]
    assert len(inner) == 2
    assert inner[0] is inner[1]
