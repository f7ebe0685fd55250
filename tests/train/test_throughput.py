"""What a run gets and what its device needs, on a clock and a device that the test moves."""

import threading

import pytest

from resnet_alexnet.train.throughput import STEPS_IN_FLIGHT, ThroughputMeter


class Clock:
    time = 0.0

    def __call__(self):
        return self.time


class Step:
    """A computation that is done when the test says so."""

    def __init__(self, error=None):
        self.done, self.error = threading.Event(), error

    def block_until_ready(self):
        assert self.done.wait(timeout=60)
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def meter(clock):
    with ThroughputMeter(10, 0, clock=clock) as meter:
        yield meter


def run(meter, clock, step, *, begins, ends):
    """One step that is dispatched when the device is idle."""
    result = Step()
    clock.time = begins
    meter.begin_step()
    meter.end_step(step, result)
    clock.time = ends
    result.done.set()
    meter._dispatched.join()


def test_nothing_is_measured_before_a_restart_nor_without_a_step_since(meter, clock):
    run(meter, clock, 1, begins=0, ends=7)
    assert meter.measure() is None
    meter.restart()
    assert meter.measure() is None


def test_a_device_that_waits_for_images_is_seen(meter, clock):
    meter.restart()
    for step in range(4):  # a batch comes every 4 seconds, a step takes 1
        run(meter, clock, step + 1, begins=4 * step + 3, ends=4 * step + 4)
    throughput = meter.measure()
    assert throughput is not None
    assert throughput.images_per_second == pytest.approx(40 / 16)
    assert throughput.step_images_per_second == pytest.approx(40 / 4)
    assert throughput.input_wait_percent == pytest.approx(75)


def test_a_device_that_is_always_busy_is_seen(meter, clock):
    meter.restart()
    results = [Step() for _ in range(5)]
    for step, result in enumerate(results):  # all are dispatched at once, and queue up on the device
        meter.begin_step()
        meter.end_step(step + 1, result)
    finished = threading.Event()
    for number, result in enumerate(results):
        clock.time = 2.0 * (number + 1)
        result.done.set()
        while meter._dispatched.unfinished_tasks > 4 - number:
            finished.wait(0.001)
    throughput = meter.measure()
    assert throughput is not None
    assert throughput.images_per_second == throughput.step_images_per_second == pytest.approx(50 / 10)
    assert throughput.input_wait_percent == pytest.approx(0)


def test_the_throughput_is_that_since_the_restart(meter, clock):
    run(meter, clock, 1, begins=0, ends=100)
    meter.restart()
    run(meter, clock, 3, begins=100, ends=104)
    throughput = meter.measure()
    assert throughput is not None
    assert throughput.images_per_second == pytest.approx(20 / 4)


def test_only_so_many_steps_are_in_flight(meter):
    results = [Step() for _ in range(STEPS_IN_FLIGHT + 1)]
    for step, result in enumerate(results[:-1]):
        meter.begin_step()
        meter.end_step(step + 1, result)
    began = threading.Event()

    def one_more():
        meter.begin_step()
        began.set()

    thread = threading.Thread(target=one_more)
    thread.start()
    assert not began.wait(0.1)
    results[0].done.set()
    assert began.wait(60)
    thread.join()
    meter.end_step(len(results), results[-1])
    for result in results:
        result.done.set()


def test_a_step_that_fails_is_raised_at_the_next(meter):
    result = Step(error=RuntimeError("out of memory on the device"))
    result.done.set()
    meter.begin_step()
    meter.end_step(1, result)
    meter._dispatched.join()
    with pytest.raises(RuntimeError, match="out of memory"):
        meter.begin_step()


def test_leaving_ends_the_thread():
    with ThroughputMeter(10, 0) as meter:
        assert meter._thread.is_alive()
    assert not meter._thread.is_alive()
