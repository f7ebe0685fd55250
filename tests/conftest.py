"""How all tests and the processes that they start run; set before jax starts.

Eight fake CPU devices and one thread per worker. Programs are compiled once, without LLVM's optimizations and without
XLA's new emitters of kernels. Both take much of the time and change no collective, no type and no random number, but
rounding: tests of exact bits have the kernels that users have, see support/kernels.py, and the nightly tests have both.
XLA_FLAGS from outside come last and override these flags.
"""

import atexit
import gc
import os
import shutil
import signal
import tempfile
import warnings

import pytest
from hypothesis import HealthCheck, settings

FLAGS = ("--xla_force_host_platform_device_count=8", "--xla_cpu_multi_thread_eigen=false")
UNOPTIMIZED = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["OMP_NUM_THREADS"] = "1"
gc.set_threshold(20_000)  # tests make many objects that stay, as a start does: see cli.memory

os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# In continuous integration the examples are the same every time: a failure there is the change's own.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("suite")

# A shell starts background jobs with Ctrl-C ignored, which Python and every process it starts would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # likewise, behind nohup


def pytest_configure(config: pytest.Config) -> None:
    """Sets XLA's flags, by what is to be run, and the folder of compiled programs, which all workers share.

    A program that one worker reads while another writes it is compiled, and jax warns of that.
    """
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist has both from the process that started it
        return
    flags = FLAGS if config.option.markexpr == "nightly" else FLAGS + UNOPTIMIZED
    os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")])
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder = tempfile.mkdtemp(prefix="compiled-")
    os.environ["PYTHONWARNINGS"] = "ignore:Error reading persistent compilation cache"  # in processes of the tests
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def same_signals_afterwards():
    """A test that left a signal ignored or blocked would fail later ones, and the processes that they start."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    handlers = {number: signal.getsignal(number) for number in numbers}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    now = {number: signal.getsignal(number) for number in numbers}
    blocked_now = signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert (now, blocked_now) == (handlers, blocked)


@pytest.fixture
def leftovers():
    """Where a file is damaged, Orbax leaves coroutines that nothing awaits: they go here, not amid a later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()
