"""How every test and every process that it starts runs; set before jax starts.

Eight fake CPU devices, one thread a worker, and programs that are compiled quickly and once: XLA's LLVM passes take
much of the time, and change no collective, no type and no random number. XLA_FLAGS from outside come last and win:
`XLA_FLAGS=--xla_backend_optimization_level=3 make test` tests programs that are optimized in full.
"""

import atexit
import os
import shutil
import signal
import tempfile

from hypothesis import HealthCheck, settings

FLAGS = (
    "--xla_force_host_platform_device_count=8",
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
)
os.environ["XLA_FLAGS"] = " ".join([*FLAGS, os.environ.get("XLA_FLAGS", "")])
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["OMP_NUM_THREADS"] = "1"

# A folder for each worker: jax writes an entry in place, so a second worker could read half of one.
_cache = tempfile.mkdtemp(prefix="compiled-")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# In continuous integration the examples are the same every time: a failure there is the change's own.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("suite")

# A shell starts background jobs with Ctrl-C ignored, which Python and every process it starts would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
