"""What a measurement has to say of the machine that it was made on."""

import datetime
import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

from resnet_alexnet.workdir.version import git_commit


def processor() -> str:
    """The name of the processor, from /proc/cpuinfo if there is one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def cores() -> tuple[int, ...]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def result(
    benchmark: str, what: str, *, ours: float | None, peer: float | None, ratio: float | None, n: int
) -> dict[str, Any]:
    """The first fields of the JSON object that a benchmark ends with.

    Args:
        benchmark: its name.
        what: what was measured.
        ours: our images per second, or what else is compared.
        peer: what it is compared with, in the same unit.
        ratio: how many times as good ours is.
        n: how many measurements each number is the median of.
    """
    return {
        "benchmark": benchmark,
        "what": what,
        "ours": ours,
        "peer": peer,
        "ratio": ratio,
        "n": n,
        "date": datetime.date.today().isoformat(),
        "commit": git_commit(),
    }


def describe() -> dict[str, Any]:
    """Processor, cores, platform and load, as JSON values."""
    return {
        "processor": processor(),
        "cores": len(cores()),
        "platform": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def peak_megabytes() -> float:
    """The largest resident size of this process so far, in MB, compilation included."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        # Not ru_maxrss: a new process takes that over from the one that started it.
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
