"""The plateau against sequences worked by hand and against torch, and its place in the optimizer state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_alexnet.errors import InputError
from resnet_alexnet.optim import schedules
from resnet_alexnet.optim.plateau import Plateau, PlateauState
from resnet_alexnet.optim.sgd import sgd


def _scales(plateau, errors):
    """The scale in force after each evaluation."""
    opt_state, scales = plateau.transformation().init({}), []
    for error in errors:
        opt_state = plateau.step(opt_state, error)
        scales.append(float(opt_state.scale))
    return scales


@pytest.mark.parametrize(
    ("options", "errors", "expected"),
    [
        # The drop is at the patience-th evaluation in a row that is not better than the best.
        ({"patience": 1}, [50, 50, 49, 49], [1, 0.1, 0.1, 0.01]),
        ({"patience": 2}, [50, 51, 50, 49.99, 60, 50, 50], [1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        # In the cool-down bad evaluations do not count.
        ({"patience": 1, "cooldown": 2}, [50, 51, 51, 51, 51], [1, 0.1, 0.1, 0.1, 0.01]),
        ({"patience": 1, "min_scale": 0.05}, [50, 51, 51, 51], [1, 0.1, 0.05, 0.05]),
        ({"patience": 1, "factor": 0.5}, [50, 51, 51], [1, 0.5, 0.25]),
        # The smallest change of a 50,000-image set is an improvement, unless more is asked for.
        ({"patience": 1}, [50, 49.998, 49.996], [1, 1, 1]),
        ({"patience": 1, "atol": 0.01}, [50, 49.998, 49.996], [1, 0.1, 0.01]),
        ({"patience": 1, "rtol": 0.1, "atol": 0.0}, [50, 46, 44], [1, 0.1, 0.1]),
        # NaN never improves, and does not become the best.
        ({"patience": 2}, [float("nan"), float("nan"), 50, float("nan"), 49], [1, 0.1, 0.1, 0.1, 0.1]),
    ],
)
def test_plateau_sequences_by_hand(options, errors, expected):
    assert _scales(Plateau(**options), errors) == pytest.approx(expected)


@settings(max_examples=30)
@given(
    errors=st.lists(st.integers(0, 12).map(lambda n: n / 4), min_size=1, max_size=25),
    patience=st.integers(1, 3),
    cooldown=st.integers(0, 2),
    min_scale=st.sampled_from([0.0, 0.05]),
)
def test_plateau_equals_torch_with_one_less_patience(errors, patience, cooldown, min_scale):
    torch = pytest.importorskip("torch")
    peer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        peer,
        patience=patience - 1,
        cooldown=cooldown,
        min_lr=min_scale,
        threshold=0.0,
        threshold_mode="abs",
        eps=0.0,
    )
    expected = []
    for error in errors:
        scheduler.step(error)
        expected.append(peer.param_groups[0]["lr"])
    plateau = Plateau(patience=patience, cooldown=cooldown, min_scale=min_scale)
    np.testing.assert_allclose(_scales(plateau, errors), expected, rtol=1e-5, atol=1e-8)


def test_plateau_multiplies_the_update_and_only_step_moves_it():
    plateau = Plateau(patience=1)
    tx = sgd(0.1, weight_decay=0.0, scales=[plateau.transformation()])
    params = {"kernel": jnp.ones(2), "bias": jnp.ones(2, jnp.bfloat16)}
    start = tx.init(params)
    update = jax.jit(tx.update)
    dropped = plateau.step(plateau.step(start, 50.0), 50.0)
    # v1 = -0.1 with the full rate; v1 = -0.01 after the drop.
    updates, after = update(params, start, params)
    assert float(updates["kernel"][0]) == pytest.approx(-0.1)
    np.testing.assert_array_equal(after[1], start[1])
    updates, _ = update(params, dropped, params)
    assert float(updates["kernel"][0]) == pytest.approx(-0.01)
    assert updates["bias"].dtype == jnp.bfloat16
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in jax.tree.leaves(dropped[1]))


def test_stepping_the_plateau_recompiles_nothing_and_keeps_the_placement():
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    plateau = Plateau(patience=1)
    tx = sgd(0.1, scales=[plateau.transformation()])
    params = jax.device_put({"kernel": jnp.ones(2)}, everywhere)
    opt_state = jax.device_put(tx.init(params), everywhere)
    update = jax.jit(tx.update)
    for error in (50.0, 60.0, 70.0):
        _, opt_state = update(params, opt_state, params)
        opt_state = plateau.step(opt_state, error)
        assert all(leaf.sharding.is_equivalent_to(everywhere, leaf.ndim) for leaf in jax.tree.leaves(opt_state))
    assert update._cache_size() == 1


def test_state_survives_flattening():
    plateau = Plateau(patience=2)
    tx = sgd(0.1, scales=[schedules.warmup_until_error(window=2), plateau.transformation()])
    params = {"kernel": jnp.ones(2)}
    _, opt_state = tx.update(params, tx.init(params), params, train_error=jnp.float32(90.0))
    opt_state = plateau.step(plateau.step(opt_state, 50.0), 51.0)
    leaves, structure = jax.tree.flatten(opt_state)
    restored = jax.tree.unflatten(structure, [np.asarray(leaf) for leaf in leaves])
    results = []
    for state in (opt_state, restored):
        state = plateau.step(state, 52.0)
        updates, state = tx.update(params, state, params, train_error=jnp.float32(60.0))
        results.append((updates, schedules.current_learning_rate(state, 0.1)))
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), *results))
    assert float(results[0][1]) == pytest.approx(0.01)


def test_plateau_wants_its_state_once():
    plateau = Plateau(patience=1)
    with pytest.raises(InputError, match="0 plateau states"):
        plateau.step(sgd(0.1).init({}), 50.0)
    with pytest.raises(InputError, match="2 plateau states"):
        plateau.step([plateau.transformation().init({})] * 2, 50.0)
    assert isinstance(plateau.step(plateau.transformation().init({}), 50.0), PlateauState)


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 0},
        {"factor": 1.0},
        {"factor": 0.0},
        {"cooldown": -1},
        {"min_scale": 2.0},
        {"rtol": 1.0},
        {"atol": 0.0},
    ],
)
def test_bad_plateaus_are_refused(options):
    (name,) = options
    with pytest.raises(InputError, match=f"schedule.{name} is"):
        Plateau(**{"patience": 1, **options})
