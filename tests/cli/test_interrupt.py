import os
import signal
import threading

import pytest

from resnet_alexnet.cli.interrupt import EXIT_CODES, Interrupt, stoppable
from resnet_alexnet.errors import InputError, InterruptedRunError


@pytest.fixture(autouse=True)
def same_handlers_afterwards():
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    yield
    assert {number: signal.getsignal(number) for number in EXIT_CODES} == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_the_first_signal_is_noted_and_nothing_else_happens(number, code):
    with Interrupt() as interrupt:
        assert interrupt.signal is None
        os.kill(os.getpid(), number)
        assert interrupt.signal is number
        assert interrupt.exit_code == code


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_acts_as_if_nobody_listened(first):
    with Interrupt() as interrupt:
        os.kill(os.getpid(), first)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.signal is first
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_after_it_ctrl_c_is_pythons_own_again():
    with Interrupt() as interrupt:
        pass
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupt.signal is None


def test_in_another_thread_it_does_nothing():
    handlers = []

    def work():
        with Interrupt():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_without_a_signal_there_is_no_exit_code():
    with pytest.raises(RuntimeError, match="no signal"):
        _ = Interrupt().exit_code


def stop(number, state):
    with stoppable(lambda: state):
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        except Exception as error:  # what takes damaged files for its own
            raise AssertionError from error


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_block_is_stopped_at_once_with_what_is_done(number, code):
    with pytest.raises(InterruptedRunError, match=r"^1 of 2 is done; run the same command again to resume$") as error:
        stop(number, "1 of 2 is done")
    assert error.value.exit_code == code


def test_the_inner_of_two_blocks_tells_the_state():
    with pytest.raises(InterruptedRunError, match=r"^inner;"), stoppable(lambda: "outer"):
        stop(signal.SIGTERM, "inner")


def test_other_errors_pass_through_and_the_handlers_are_as_before():
    with pytest.raises(InputError, match="bad"), stoppable(lambda: "stopped"):
        raise InputError("bad")
