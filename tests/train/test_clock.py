"""The clock of a run: its parts add up to the time, and compilation is taken out of whichever part it is in."""

import jax
import jax.numpy as jnp
import pytest

from resnet_alexnet.train.clock import RunClock


class Hand:
    """The hand of a clock, moved by the test."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def hand():
    return Hand()


def parts(clock):
    fields = clock.take()
    assert fields.pop("time") > 1e9
    return {name.removeprefix("seconds/"): seconds for name, seconds in fields.items()}


def test_the_parts_follow_each_other_without_gaps(hand):
    clock = RunClock(hand)
    hand.now = 3
    clock.switch("steps")
    hand.now = 7
    with clock.during("other"):
        hand.now = 8
        with clock.during("save"):
            hand.now = 10
        hand.now = 11
        assert parts(clock) == {"start": 3, "other": 4 + 1 + 1, "save": 2}  # the device has not been watched
        hand.now = 12
    assert parts(clock) == {"other": 1}
    assert parts(clock) == {}
    assert clock.elapsed() == 12


@pytest.mark.parametrize(("resident", "idle"), [(True, "other"), (False, "input_wait")])
def test_the_steps_take_what_the_device_computed(hand, resident, idle):
    busy, clock = [5.0], RunClock(hand)
    clock.switch("steps")
    clock.watch_steps(lambda: busy[0], resident=resident)
    hand.now, busy[0] = 10, 12.0
    assert parts(clock) == {"steps": 7, idle: 3}
    hand.now, busy[0] = 14, 99.0  # more than there was time
    assert parts(clock) == {"steps": 4}


def test_spans_of_compilation_count_once(hand):
    busy, clock = [0.0], RunClock(hand)
    hand.now = 6
    clock._note("/jax/core/compile/jaxpr_trace_duration", 1.0)  # within the next
    hand.now = 7
    clock._note("/jax/core/compile/jaxpr_trace_duration", 4.0)
    clock._note("/jax/compilation_cache/cache_retrieval_time_sec", 3.0)  # another kind of event
    hand.now = 10
    assert parts(clock) == {"start": 6, "compile": 4}
    clock.switch("steps")
    clock.watch_steps(lambda: busy[0], resident=True)
    hand.now = 15
    clock._note("/jax/core/compile/backend_compile_duration", 4.0)
    hand.now, busy[0] = 20, 9.0  # which include those of the compilation
    assert parts(clock) == {"compile": 4, "steps": 5, "other": 1}


def test_jax_reports_its_compilation_until_the_clock_is_left():
    with RunClock() as clock:
        with clock.during("evaluation"):
            jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3)))
        assert parts(clock)["compile"] > 0
    jax.jit(lambda x: jnp.cos(x) @ x)(jnp.ones((3, 3)))
    assert "compile" not in parts(clock)
