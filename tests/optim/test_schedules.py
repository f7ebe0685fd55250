"""The schedules and the error-driven warm-up against sequences worked by hand."""

import jax
import jax.numpy as jnp
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.optim import schedules
from resnet_alexnet.optim.plateau import Plateau
from resnet_alexnet.optim.sgd import sgd


def _rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_constant_and_plateau_schedules_are_constant():
    for name in ("constant", "plateau"):
        assert _rates(schedules.create_schedule(name, learning_rate=0.1, num_steps=5), [0, 4, 99]) == [0.1] * 3


def test_steps_drop_at_their_boundaries_as_published():
    # [H15 section 4.2]: 0.1, divided by 10 at 32k and 48k iterations.
    schedule = schedules.create_schedule("steps", learning_rate=0.1, num_steps=64_000, boundaries=(32_000, 48_000))
    steps = [0, 31_999, 32_000, 47_999, 48_000, 63_999]
    assert _rates(schedule, steps) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert _rates(jax.jit(schedule), steps) == pytest.approx(_rates(schedule, steps))


def test_warmup_rises_to_the_rate_and_boundaries_count_from_the_start():
    schedule = schedules.create_schedule("steps", learning_rate=0.4, num_steps=9, warmup_steps=4, boundaries=(6,))
    expected = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.04, 0.04, 0.04]
    assert _rates(schedule, range(9)) == pytest.approx(expected)
    assert _rates(schedule, jnp.arange(9)) == pytest.approx(expected)


def test_cosine_falls_from_the_warmup_to_zero():
    schedule = schedules.create_schedule("cosine", learning_rate=0.2, num_steps=12, warmup_steps=2)
    assert _rates(schedule, [0, 1, 2, 7, 12]) == pytest.approx([0.1, 0.2, 0.2, 0.1, 0.0], abs=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "step"}, "did you mean 'steps'"),
        ({"name": "steps"}, "boundaries"),
        ({"name": "steps", "boundaries": (0, 3)}, r"\(0, 3\)"),
        ({"name": "steps", "boundaries": (3, 3)}, r"\(3, 3\)"),
        ({"name": "steps", "boundaries": (5, 3)}, r"\(5, 3\)"),
        ({"name": "steps", "boundaries": (5,), "factor": 0.0}, "factor"),
        ({"name": "constant", "warmup_steps": -1}, "warmup_steps is -1"),
        ({"name": "cosine", "warmup_steps": 10}, "less than num_steps, 10"),
        ({"name": "constant", "learning_rate": 0.0}, "learning_rate"),
        ({"name": "constant", "learning_rate": float("inf")}, "learning_rate"),
        ({"name": "constant", "num_steps": 0}, "num_steps"),
    ],
)
def test_bad_schedules_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        schedules.create_schedule(**{"learning_rate": 0.1, "num_steps": 10, **options})


def test_rate_for_another_batch_size():
    rate = lambda rule: schedules.scaled_learning_rate(0.1, batch_size=1024, reference_batch_size=256, rule=rule)  # noqa: E731
    assert (rate("none"), rate("linear"), rate("sqrt")) == pytest.approx((0.1, 0.4, 0.2))
    with pytest.raises(InputError, match="did you mean 'linear'"):
        rate("liner")
    with pytest.raises(InputError, match="batch_size is 0"):
        schedules.scaled_learning_rate(0.1, batch_size=0, reference_batch_size=256)


def _factors(tx, errors):
    """The factor that each of the updates is multiplied by."""
    state, factors = tx.init({}), []
    update = jax.jit(tx.update)
    for error in errors:
        updates, state = update({"kernel": jnp.float32(1.0)}, state, train_error=jnp.float32(error))
        factors.append(float(updates["kernel"]))
    return factors


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([90, 90, 90, 60, 60, 90, 99, 99], [0.1, 0.1, 0.1, 1, 1, 1, 1, 1]),  # the second window's mean is 75
        ([90, 60, 99, 99], [0.1, 1, 1, 1]),
        ([80, 80, 81, 78.9, 0, 0], [0.1, 0.1, 0.1, 1, 1, 1]),  # 80 itself is not below 80
        ([float("nan"), 0, 0, 0], [0.1, 0.1, 0.1, 1]),  # a NaN spoils its own window alone
        ([90, 0, float("nan")], [0.1, 1, 1]),
    ],
)
def test_warmup_lasts_until_a_window_is_below_the_threshold(errors, expected):
    assert _factors(schedules.warmup_until_error(0.1, 80.0, window=2), errors) == pytest.approx(expected)


def test_warmup_takes_extra_arguments_through_the_chain_and_is_read_back():
    tx = sgd(0.1, momentum=0.0, scales=[schedules.warmup_until_error(window=1), Plateau(patience=1).transformation()])
    params = {"kernel": jnp.ones(2), "bias": jnp.ones(2, jnp.bfloat16)}
    opt_state = tx.init(params)
    update = jax.jit(tx.update)
    for error, rate in [(95.0, 0.01), (70.0, 0.1), (95.0, 0.1)]:
        updates, opt_state = update(params, opt_state, params, train_error=jnp.float32(error))
        assert float(updates["kernel"][0]) == pytest.approx(-rate)
        assert updates["bias"].dtype == jnp.bfloat16
        assert float(schedules.current_learning_rate(opt_state, 0.1)) == pytest.approx(rate)
    opt_state = Plateau(patience=1).step(Plateau(patience=1).step(opt_state, 50.0), 60.0)
    assert float(schedules.current_learning_rate(opt_state, 0.1)) == pytest.approx(0.01)


def test_extra_arguments_are_welcome_where_nothing_reads_them():
    tx = sgd(0.1)
    gradient = {"kernel": jnp.ones(1)}
    with_error, _ = tx.update(gradient, tx.init(gradient), None, train_error=jnp.float32(1.0))
    without, _ = tx.update(gradient, tx.init(gradient), None)
    assert float(with_error["kernel"][0]) == float(without["kernel"][0]) == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"scale": 0.0}, "until_error_scale is"), ({"threshold": 120.0}, "until_error is"), ({"window": 0}, "window")],
)
def test_bad_warmups_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        schedules.warmup_until_error(**options)
