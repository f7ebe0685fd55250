"""Eight fake CPU devices for every test, set before jax starts; and no test that depends on the machine's speed."""

import os
import signal

from hypothesis import HealthCheck, settings

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

# In continuous integration the examples are the same every time: a failure there is the change's own.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("suite")

# A shell starts background jobs with Ctrl-C ignored, which Python and every process it starts would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
