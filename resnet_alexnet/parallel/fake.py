"""Fake devices: a program for many devices can be compiled, and looked at, on a machine that has none of them."""

import jax


def create_fake_devices(count: int) -> list[jax.Device]:
    """Makes jax see `count` CPU devices and nothing else. Call it before anything has asked for a device.

    XLA_FLAGS=--xla_force_host_platform_device_count, if set, does not count.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", count)
    return jax.devices()
