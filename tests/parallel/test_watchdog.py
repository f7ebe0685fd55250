import re
import threading

import pytest

from resnet_alexnet.parallel.watchdog import Watchdog


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def timed(seconds: float, times: list[float]) -> tuple[Watchdog, Clock]:
    """A watchdog that has seen steps of these times, which is not started."""
    clock = Clock()
    watchdog = Watchdog(seconds, name="process 1 of 2 (hostb)", clock=clock)
    for number, each in enumerate([0.0, *times]):
        clock.now += each
        watchdog.step(number)
    return watchdog, clock


@pytest.mark.parametrize(
    ("times", "limit"),
    [
        ([], 600),  # the first steps compile
        ([1, 1, 1, 1], 600),
        ([1, 1, 1, 1, 1], 60),
        ([5, 5, 5, 900, 5], 100),  # of the median
    ],
)
def test_the_limit_is_the_floor_or_twenty_medians(times, limit):
    watchdog, _ = timed(60, times)
    assert watchdog.limit == limit


def test_what_compiles_or_writes_may_take_ten_times_the_floor_and_does_not_count_as_a_step():
    watchdog, clock = timed(60, [1.0] * 5)
    with watchdog.slow():
        assert watchdog.limit == 600
        clock.now += 500
        watchdog.beat()
    assert watchdog.limit == 60
    clock.now += 50
    watchdog.step(6)  # the first after it is not timed: it began later
    for _ in range(4):
        clock.now += 3
        watchdog.step(7)
    assert watchdog.limit == 60


def test_a_run_that_is_stuck_leaves_with_its_stacks_and_its_step(capfd):
    clock, left = Clock(), threading.Event()
    codes = []

    def leave(code):
        codes.append(code)
        left.set()

    with Watchdog(0.05, name="process 1 of 2 (hostb)", step=7, clock=clock, leave=leave) as watchdog:
        for step in range(8, 15):
            watchdog.step(step)
        while not left.wait(0.001):
            clock.now += 0.001  # between two looks, or the process was suspended
    errors = capfd.readouterr().err
    assert codes == [1]
    assert "test_a_run_that_is_stuck" in errors  # the stack of this thread
    assert re.search(
        r"^process 1 of 2 \(hostb\): error: nothing finished for \d+ s after step 14: ", errors, re.MULTILINE
    )


def test_time_in_which_the_process_itself_was_suspended_does_not_count():
    watchdog, clock = timed(60, [1.0] * 5)
    assert not watchdog.is_stuck()
    clock.now += 1000
    assert not watchdog.is_stuck()
    for _ in range(6):
        clock.now += 10
        assert not watchdog.is_stuck()
    clock.now += 10
    assert watchdog.is_stuck()


def test_without_a_floor_there_is_no_watch():
    with Watchdog(0, name="process") as watchdog:
        assert not watchdog._thread.is_alive()
