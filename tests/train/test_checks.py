"""The checks of a run under way."""

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_alexnet.errors import OutOfMemoryError, TrainingError, memory_needed
from resnet_alexnet.train.checks import FailedCheckError, _all_finite, check_falling, check_finite
from resnet_alexnet.train.state import create_state


def state_of(parameter: float):
    return create_state({"kernel": jnp.array([1.0, parameter])}, {}, (), {}).replace(step=jnp.int32(7))


def test_the_step_of_a_loss_that_is_not_finite_counts_from_1():
    first = state_of(1.0).replace(nonfinite_step=jnp.int32(0))  # no step was done before it
    with pytest.raises(
        FailedCheckError, match=r"^the loss is not finite at step 1 \(learning rate 0\.5\); usual causes"
    ) as found:
        check_finite(first, lambda done: {0: 0.5}[done])
    assert found.value.end == "diverged"


def test_parameters_may_have_ceased_to_be_finite_before_the_last_step():
    with pytest.raises(
        FailedCheckError, match=r"^parameters are not finite by step 7 \(learning rate 0\.25\)"
    ) as found:
        check_finite(state_of(jnp.nan), lambda done: {6: 0.25}[done])
    assert found.value.end == "diverged"
    check_finite(state_of(2.0), lambda done: 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found(value):
    largest = np.full((3, 4), np.finfo(np.float32).max, np.float32)
    params = {"a": jnp.array(largest), "b": {"c": jnp.array(largest).at[2, 1].set(-1e-45)}}
    assert _all_finite(params)
    params["b"]["c"] = params["b"]["c"].at[1, 2].set(value)
    assert not _all_finite(params)


def test_a_network_that_learns_nothing_is_finite():
    check_finite(create_state({}, {}, (), {}), lambda done: 0.0)


def test_a_loss_at_the_constant_predictions_has_not_begun_to_fall():
    with pytest.raises(
        FailedCheckError, match=r"^after 4 steps the loss is 2\.3000, no better than a constant"
    ) as found:
        check_falling(2.3, 2.3026, 4)
    assert found.value.end == "stuck"
    check_falling(2.2, 2.3026, 4)


def xla_error():
    return jnp.zeros(2**46, jnp.float32).block_until_ready()


def python_error():
    return bytearray(2**62)


@pytest.mark.parametrize("allocate", [xla_error, python_error])
def test_memory_that_does_not_suffice_is_one_line_with_the_remedy(allocate):
    with (
        pytest.raises(OutOfMemoryError, match=r"^out of memory for a step: lower it \(.+\)$"),
        memory_needed("for a step", "lower it"),
    ):
        allocate()


@pytest.mark.parametrize("error", [RuntimeError("other"), TrainingError("RESOURCE_EXHAUSTED already said")])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as raised, memory_needed("for a step", "lower it"):
        raise error
    assert raised.value is error
