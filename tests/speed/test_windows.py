"""Windows of time, and the numbers that sum them up."""

import itertools

from resnet_alexnet.speed import windows
from resnet_alexnet.speed.windows import Window, format_spread, spread, time_windows


class Clock:
    """Seconds that pass only while steps run: by the clock, and of two busy cores."""

    def __init__(self, monkeypatch, step_seconds):
        self.now, self.runs, self.step_seconds = 0.0, [], itertools.chain(step_seconds, itertools.repeat(0.25))
        monkeypatch.setattr(windows.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(windows.time, "process_time", lambda: 2 * self.now)

    def run(self, steps):
        self.runs.append(steps)
        self.now += sum(next(self.step_seconds) for _ in range(steps))


def test_a_window_has_as_many_steps_as_fill_it_and_the_first_step_does_not_count(monkeypatch):
    clock = Clock(monkeypatch, [9.0])  # the first step is slow
    measured = time_windows(clock.run, images_per_step=10, windows=3, seconds=1.1)
    assert clock.runs == [1, 1, 5, 5, 5]
    assert measured == [Window(50, 1.25, 2.5)] * 3
    assert (measured[0].throughput, measured[0].busy_cores) == (40.0, 2.0)


def test_a_window_has_a_step_at_least(monkeypatch):
    clock = Clock(monkeypatch, [])
    assert [w.images for w in time_windows(clock.run, images_per_step=10, windows=2, seconds=0)] == [10, 10]


def test_a_spread_is_median_minimum_and_maximum():
    assert spread([3.0, 1.0, 20.00001]) == {"median": 3.0, "min": 1.0, "max": 20.0}
    assert format_spread(spread([3.0, 1.0, 20.0])) == "3.00 (1.00 to 20.00)"
    assert format_spread(spread([3000.0, 1000.0, 20000.0])) == "3,000 (1,000 to 20,000)"
