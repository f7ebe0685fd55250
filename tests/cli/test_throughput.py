from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet.cli.throughput import Throughput


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@given(
    seconds=st.lists(st.floats(0.01, 1000), min_size=2, max_size=40),
    rate=st.floats(0.1, 1000),
    total=st.integers(1, 50),
)
def test_what_goes_on_evenly_has_that_rate_and_the_time_left_is_never_negative(seconds, rate, total):
    clock = Clock()
    throughput = Throughput(clock)
    assert (throughput.rate, throughput.seconds_left(total), throughput.begun) == (0.0, None, False)
    for done in range(len(seconds)):
        clock.now = done / rate
        throughput.mark(done)
    assert abs(throughput.rate - rate) < 1e-6 * rate
    left = throughput.seconds_left(total)
    assert left is not None
    assert abs(left - max(total - len(seconds) + 1, 0) / rate) < 1e-6
    for second in seconds:
        clock.now += second
        assert throughput.seconds_left(total) >= 0


def test_a_rate_is_that_of_the_last_seconds_and_leaves_out_pauses():
    clock = Clock()
    throughput = Throughput(clock)
    for done in range(100):  # one a second, then four a second
        clock.now = float(min(done, 50) + max(done - 50, 0) / 4)
        throughput.mark(done)
    assert 1 < throughput.rate < 4
    for done in range(100, 200):
        clock.now += 0.25
        throughput.mark(done)
    assert throughput.rate == 4
    throughput.pause()
    clock.now += 1000
    assert throughput.rate == 4
    throughput.mark(200)
    clock.now += 0.5
    throughput.mark(201)
    assert throughput.rate == 2
