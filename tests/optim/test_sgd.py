"""The update rules against sequences worked by hand and against torch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.optim import schedules
from resnet_alexnet.optim.plateau import Plateau
from resnet_alexnet.optim.sgd import sgd


def _follow(tx, gradients, start=1.0):
    """The values of one parameter after each step."""
    params, path = {"kernel": jnp.float32(start)}, []
    opt_state = tx.init(params)
    for gradient in gradients:
        updates, opt_state = tx.update({"kernel": jnp.float32(gradient)}, opt_state, params)
        params = optax.apply_updates(params, updates)
        path.append(float(params["kernel"]))
    return path


def _dropping(step):
    """A rate of 0.1 that is divided by 10 at step 2."""
    return jnp.where(step < 2, 0.1, 0.01)


def test_paper_rule_by_hand():
    # v = 0.9 v - lr (g + 0.5 w), w = w + v, from w = 1, v = 0, with g = 1 and lr = 0.1, 0.1, 0.01:
    # v1 = -0.1 (1 + 0.5)                    = -0.15       w1 = 0.85
    # v2 = -0.135 - 0.1 (1 + 0.425)          = -0.2775     w2 = 0.5725
    # v3 = -0.24975 - 0.01 (1 + 0.28625)     = -0.2626125  w3 = 0.3098875
    path = _follow(sgd(_dropping, weight_decay=0.5), [1, 1, 1])
    np.testing.assert_allclose(path, [0.85, 0.5725, 0.3098875], rtol=1e-6)


def test_optax_rule_by_hand():
    # v = 0.9 v + (g + 0.5 w), w = w - lr v:
    # v1 = 1.5                  w1 = 0.85
    # v2 = 1.35 + 1.425 = 2.775 w2 = 0.5725
    # v3 = 2.4975 + 1.28625 = 3.78375, now with the rate of 0.01, w3 = 0.5346625
    path = _follow(sgd(_dropping, weight_decay=0.5, update_rule="optax"), [1, 1, 1])
    np.testing.assert_allclose(path, [0.85, 0.5725, 0.5346625], rtol=1e-6)


def test_first_update_after_a_drop_is_nine_times_larger_in_the_paper():
    # With a gradient of 1 for long the buffer is 10 steps: -1 in the paper (of the old rate 0.1), 10 in Optax.
    # Next: -0.9 - 0.01 = -0.91 in the paper; 0.01 (9 + 1) = 0.1 in Optax.
    late = lambda step: jnp.where(step < 200, 0.1, 0.01)  # noqa: E731
    steps = {}
    for name, tx in {
        "paper": sgd(late),
        "optax": sgd(late, update_rule="optax"),
        "peer": optax.sgd(late, momentum=0.9),
    }.items():
        path = _follow(tx, [1] * 201)
        steps[name] = path[-1] - path[-2]
    assert steps["paper"] == pytest.approx(-0.91, rel=1e-3)
    assert steps["optax"] == pytest.approx(-0.1, rel=1e-3)
    assert steps["optax"] == steps["peer"]


@pytest.mark.parametrize("update_rule", ["paper", "optax"])
@pytest.mark.parametrize(
    ("momentum", "weight_decay", "nesterov"),
    [(0.9, 0.01, False), (0.9, 0.01, True), (0.9, 0.0, False), (0.9, 0.0, True), (0.0, 0.01, False)],
)
def test_rules_equal_torch_at_a_constant_rate(update_rule, momentum, weight_decay, nesterov):
    torch = pytest.importorskip("torch")
    gradients = np.random.default_rng(0).normal(size=8)
    weight = torch.tensor(1.0, requires_grad=True)
    peer = torch.optim.SGD([weight], lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    expected = []
    for gradient in gradients:
        weight.grad = torch.tensor(float(gradient))
        peer.step()
        expected.append(weight.item())
    tx = sgd(0.1, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, update_rule=update_rule)
    np.testing.assert_allclose(_follow(tx, gradients), expected, rtol=1e-5, atol=1e-6)


def test_optax_rule_equals_torch_across_drops():
    torch = pytest.importorskip("torch")
    gradients = np.random.default_rng(1).normal(size=9)
    weight = torch.tensor(1.0, requires_grad=True)
    peer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.1)
    drops = torch.optim.lr_scheduler.MultiStepLR(peer, [3, 6], gamma=0.1)
    expected = []
    for gradient in gradients:
        weight.grad = torch.tensor(float(gradient))
        peer.step()
        drops.step()
        expected.append(weight.item())
    schedule = schedules.create_schedule("steps", learning_rate=0.1, num_steps=9, boundaries=(3, 6))
    tx = sgd(schedule, weight_decay=0.1, update_rule="optax")
    np.testing.assert_allclose(_follow(tx, gradients), expected, rtol=1e-5)


def test_masks_and_bias_multiplier_by_leaf_name():
    params = {
        "conv": {"kernel": jnp.ones(2), "bias": jnp.ones(2)},
        "blocks": {0: {"norm": {"scale": jnp.ones(2), "bias": jnp.ones(2)}}},
    }
    zeros = jax.tree.map(jnp.zeros_like, params)

    def first_update(**options):
        tx = sgd(0.5, weight_decay=0.1, **options)
        updates, _ = tx.update(zeros, tx.init(params), params)
        norm = updates["blocks"][0]["norm"]
        return [float(u[0]) for u in (updates["conv"]["kernel"], updates["conv"]["bias"], norm["scale"], norm["bias"])]

    assert first_update() == pytest.approx([-0.05, -0.05, -0.05, -0.05])
    assert first_update(decay_mask="kernels") == pytest.approx([-0.05, 0, 0, 0])
    for update_rule in ("paper", "optax"):
        doubled = first_update(bias_learning_rate=2.0, update_rule=update_rule)
        assert doubled == pytest.approx([-0.05, -0.1, -0.05, -0.1])


@pytest.mark.parametrize("update_rule", ["paper", "optax"])
def test_lr_multipliers_multiply_the_plain_update_and_the_longest_path_counts(update_rule):
    rng = np.random.default_rng(0)
    names = ("kernel", "bias")
    params = {
        "stem": {name: rng.normal(size=3) for name in names},
        "stages": {i: {j: {name: rng.normal(size=3) for name in names} for j in (0, 1)} for i in (1, 10)},
        "head": {name: rng.normal(size=3) for name in names},
    }
    rates = {"stages": 0.5, "stages.1": 0.25, "stages/1/0/bias": 0.0, "head": 10.0}
    factors = {
        "stem": dict.fromkeys(names, 1.0),
        "stages": {
            1: {0: {"kernel": 0.25, "bias": 0.0}, 1: dict.fromkeys(names, 0.25)},
            10: dict.fromkeys((0, 1), dict.fromkeys(names, 0.5)),  # 10 does not begin with 1
        },
        "head": dict.fromkeys(names, 10.0),
    }
    tx = sgd(0.1, momentum=0.9, weight_decay=0.3, lr_multipliers=rates, update_rule=update_rule)
    weights, opt_state = jax.tree.map(jnp.asarray, params), tx.init(params)
    expected, momentum = params, jax.tree.map(np.zeros_like, params)
    for _ in range(3):
        gradients = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
        updates, opt_state = tx.update(jax.tree.map(jnp.asarray, gradients), opt_state, weights)
        weights = optax.apply_updates(weights, updates)
        momentum = jax.tree.map(lambda v, g, w: 0.9 * v - 0.1 * (g + 0.3 * w), momentum, gradients, expected)
        expected = jax.tree.map(lambda w, factor, v: w + factor * v, expected, factors, momentum)
    jax.tree.map(lambda w, e: np.testing.assert_allclose(w, e, rtol=1e-5, atol=1e-6), weights, expected)


def test_an_lr_multiplier_of_no_parameter_is_refused():
    with pytest.raises(InputError, match=r"finetune\.lr_multipliers has 'haed/kernel', did you mean 'head/kernel'"):
        sgd(0.1, lr_multipliers={"haed/kernel": 0.1}).init({"head": {"kernel": jnp.ones(2)}})


def test_a_mask_that_meets_no_leaf_is_refused():
    with pytest.raises(InputError, match="'kernel'"):
        sgd(0.1, weight_decay=0.1, decay_mask="kernels").init({"w": jnp.ones(2)})


def test_chain_holds_only_what_is_asked_for():
    params = {"kernel": jnp.ones(2)}
    assert len(sgd(0.1, momentum=0.0).init(params)) == 1
    assert len(sgd(0.1).init(params)) == 2
    full = sgd(0.1, weight_decay=0.1, clip_norm=1.0, scales=[Plateau(patience=1).transformation()])
    assert len(full.init(params)) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"update_rule": "papers"}, "did you mean 'paper'"),
        ({"decay_mask": "kernel"}, "did you mean 'kernels'"),
        ({"momentum": 1.0}, r"momentum is 1\.0"),
        ({"momentum": 0.0, "nesterov": True}, "nesterov"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"bias_learning_rate": float("nan")}, "bias_learning_rate"),
        ({"clip_norm": -1.0}, r"optim.clip_norm is -1\.0"),
        ({"clip_norm": float("inf")}, "optim.clip_norm is inf"),
    ],
)
def test_bad_options_of_the_rule_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sgd(0.1, **options)


@pytest.mark.parametrize("update_rule", ["paper", "optax"])
def test_the_whole_gradient_is_clipped_before_the_decay_as_by_torch(update_rule):
    torch = pytest.importorskip("torch")
    shapes, rng = {"bias": (4,), "kernel": (3, 4)}, np.random.default_rng(0)
    params = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
    peers = [torch.nn.Parameter(torch.tensor(np.asarray(leaf))) for leaf in params.values()]
    peer = torch.optim.SGD(peers, lr=0.1, momentum=0.9, weight_decay=0.5)
    tx = sgd(0.1, weight_decay=0.5, clip_norm=2.0, update_rule=update_rule)
    opt_state, norms = tx.init(params), []
    for size in (0.1, 3.0, 0.3, 1.0, 100.0):
        gradients = {name: np.float32(size * rng.normal(size=shape)) for name, shape in shapes.items()}
        for tensor, gradient in zip(peers, gradients.values(), strict=True):
            tensor.grad = torch.tensor(gradient)
        norms.append(float(torch.nn.utils.clip_grad_norm_(peers, 2.0)))
        peer.step()
        updates, opt_state = tx.update(jax.tree.map(jnp.asarray, gradients), opt_state, params)
        params = optax.apply_updates(params, updates)
        for tensor, leaf in zip(peers, params.values(), strict=True):
            np.testing.assert_allclose(leaf, tensor.detach(), rtol=1e-5, atol=1e-6)
    assert min(norms) < 2.0 < max(norms)
