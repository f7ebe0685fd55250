import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading

import pytest

from resnet_alexnet.cli.early import EXIT_CODES
from resnet_alexnet.cli.interrupt import Interrupt, stoppable
from resnet_alexnet.errors import InputError, InterruptedRunError
from tests.support.processes import CHECKOUT


def listening(answers=None):
    return Interrupt((answers if answers is not None else queue.SimpleQueue()).put, lambda: "left")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)])
def test_the_first_signal_is_noted_and_answered_and_nothing_else_happens(number, code):
    answers = queue.SimpleQueue()
    with listening(answers) as interrupt:
        assert interrupt.signal is None
        os.kill(os.getpid(), number)
        assert interrupt.signal is number
        assert EXIT_CODES[number] == code
        assert answers.get(timeout=60) is number


# A program that handles SIGTERM itself, as JAX does where there are several processes.
OTHERS = """
import os, signal, threading
from resnet_alexnet.cli.interrupt import Interrupt

signal.signal(signal.SIGTERM, lambda *_: None)
answers = []
with Interrupt(answers.append, lambda: "left", signals=[signal.SIGINT]) as interrupt:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
for thread in threading.enumerate():
    if thread.name == "signals":
        thread.join()  # it has heard all of them
print(interrupt.signal.name)
"""


def test_signals_that_others_handle_are_not_counted():
    result = subprocess.run([sys.executable, "-c", OTHERS], capture_output=True, text=True, cwd=CHECKOUT, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "SIGINT\n", "")


# The main thread is in a long call, as when jax compiles: Python's own handlers do not run.
BUSY = """
import hashlib
from resnet_alexnet.cli.command import exit_with
from resnet_alexnet.cli.interrupt import Interrupt

def compile_for_long():
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # one call in C

def train():
    def answer(number):
        print("answer", number.name, flush=True)

    with Interrupt(answer, lambda: "stopped without saving"):
        compile_for_long()

exit_with({command})
"""


@contextlib.contextmanager
def busy(command):
    program = BUSY.format(command=command)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_the_first_signal_is_answered_during_a_long_call_and_the_second_ends_the_process(number, code):
    with busy("train") as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "answer SIGINT\n"
        assert process.poll() is None
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (code, "", "stopped without saving\n")


@pytest.mark.parametrize(
    ("numbers", "code", "told"),
    [
        ([signal.SIGINT], 130, "interrupted\n"),
        ([signal.SIGINT, signal.SIGINT], 130, "interrupted\n"),
        ([signal.SIGTERM], 75, "SIGTERM: stopped; run the same command again\n"),
    ],
)
def test_a_signal_ends_any_command_even_during_a_long_call(numbers, code, told):
    with busy("compile_for_long") as process:
        for number in numbers:
            process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (code, "", told)


SLOW_TO_CLOSE = """
import time
from resnet_alexnet.cli.command import exit_with

def photographs():
    try:
        yield
    finally:
        time.sleep(60)  # as a pool of threads does that waits for one of them

def command():
    reading = photographs()
    next(reading)
    print("busy", flush=True)
    time.sleep(60)

exit_with(command)
"""


def test_a_command_that_takes_long_to_clean_up_says_first_that_it_was_interrupted():
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_CLOSE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGINT)
        assert (process.communicate(timeout=60)[1], process.returncode) == ("interrupted\n", 130)


SLEEPY = """
import atexit, sys, time
from resnet_alexnet.cli.command import run

def main(words):
    print("busy", flush=True)
    time.sleep(60)

atexit.register(lambda: (print("ending", flush=True), time.sleep(1)))
run(main)
"""


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [(signal.SIGTERM, signal.SIGTERM, 75), (signal.SIGINT, signal.SIGINT, 130), (signal.SIGINT, signal.SIGTERM, 130)],
)
def test_a_second_signal_while_the_process_ends_does_not_change_its_exit_code(first, second, code):
    with subprocess.Popen([sys.executable, "-c", SLEEPY], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        process.send_signal(first)
        assert process.stdout.readline() == "ending\n"
        process.send_signal(second)
        assert process.wait(60) == code


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["before", "inside"])
def test_where_it_is_asked_for_a_signal_is_raised(first, when):
    reached = []
    with listening() as interrupt:
        if when == "before":
            os.kill(os.getpid(), first)

        def inside():
            with interrupt.raised():
                reached.append(when)
                os.kill(os.getpid(), first)

        with pytest.raises(KeyboardInterrupt):
            inside()
        assert reached == (["inside"] if when == "inside" else [])
        assert interrupt.signal is first


def test_after_it_ctrl_c_is_pythons_own_again():
    with listening() as interrupt:
        pass
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupt.signal is None
    assert signal.set_wakeup_fd(-1) == -1


def test_in_another_thread_it_does_nothing():
    handlers = []

    def work():
        with listening():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_a_hang_up_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
        assert interrupt.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


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


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGINT, 130, "interrupted\n"),
        (signal.SIGTERM, 75, "SIGTERM: stopped; run the same command again\n"),
    ],
)
@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("difflib", "print('importing', flush=True); import time; time.sleep(60)"),  # before the command begins
        (
            "jax",
            "exec('print(\\'importing\\', flush=True); import time; time.sleep(60)')",
        ),  # in it, as a dataclass is made
    ],
)
def test_a_signal_during_an_import_is_one_line(tmp_path, number, code, told, module, slow):
    (tmp_path / f"{module}.py").write_text(slow)
    (tmp_path / "weights").touch()
    with subprocess.Popen(
        [sys.executable, "-m", "resnet_alexnet.kernels", f"--weights={tmp_path / 'weights'}", "--output=k.png"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{CHECKOUT}"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, told)


def test_a_program_that_imports_the_package_keeps_its_handlers():
    code = "import signal; before = signal.getsignal(2); import resnet_alexnet; assert signal.getsignal(2) is before"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT, timeout=60)
