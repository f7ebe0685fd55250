"""What a run that stops early says."""

import os
import signal

import pytest

from resnet_alexnet.cli.output import Output
from resnet_alexnet.train import stopping


@pytest.mark.parametrize(
    ("number", "steps", "evaluates", "said"),
    [
        (signal.SIGTERM, 0, False, "SIGTERM: saving"),  # between an evaluation and the next step
        (signal.SIGTERM, 1, False, "SIGTERM: finishing 1 step, then saving"),
        (signal.SIGHUP, 2, False, "SIGHUP: finishing 2 steps, then saving"),
        (signal.SIGINT, 0, True, "SIGINT: giving up the evaluation, then saving; press again to stop without saving"),
    ],
)
def test_the_answer_to_a_signal_tells_what_is_under_way(number, steps, evaluates, said):
    assert stopping.answer(number, steps=steps, evaluates=evaluates) == said


def test_before_the_first_step_there_is_nothing_to_save():
    said = stopping.answer(signal.SIGINT, steps=0, evaluates=False, any_done=False)
    assert said == "SIGINT: stopping before the first step"
    stop = stopping.Stop(lambda number: None, lambda: "", Output())
    stop.interrupt.signal = signal.SIGTERM
    error = stop.stopped(0)
    assert str(error) == "SIGTERM: stopped before the first step; run the same command again to start from step 0"
    assert error.exit_code == 75
    error = stop.stopped(7)
    assert str(error) == "SIGTERM: saved a checkpoint at step 7; run the same command again to resume"


def test_what_is_left_names_the_last_checkpoint_only_if_there_is_one():
    assert stopping.left(8).endswith("to resume at step 8")
    assert "resume" not in stopping.left(0)
    assert "there is no checkpoint" in stopping.left(0)


def test_several_processes_stop_where_jax_says_and_one_that_is_asked_asks_all():
    received, points = [], iter([False, False, True])
    previous = signal.signal(signal.SIGTERM, lambda *_: received.append(signal.SIGTERM))  # in place of JAX
    try:
        stop = stopping.Stop(lambda number: None, lambda: "", Output(), all_stop=lambda: next(points))
        with stop.interrupt, stop.raised():
            assert not stop.reached()
            assert received == []
            os.kill(os.getpid(), signal.SIGINT)
            stop.raise_if_reached()
            assert received == [signal.SIGTERM]
            with pytest.raises(KeyboardInterrupt):
                stop.raise_if_reached()
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, previous)
    end = stop.stopped(3)
    assert str(end) == "SIGINT: saved a checkpoint at step 3; run the same command again to resume"
    assert end.exit_code == 130


def test_a_process_that_others_stop_exits_like_one_that_got_sigterm():
    end = stopping.Stop(lambda number: None, lambda: "", Output(), all_stop=lambda: True).stopped(3)
    assert str(end).startswith("one of the processes was told to stop: saved a checkpoint at step 3;")
    assert end.exit_code == 75
