"""The protocol of a benchmark process, which handles a number of images on each request.

Uses only the standard library: a peer runs in its own environment, without this project.
"""

import contextlib
import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Run = Callable[[int], float | None]  # handles a number of images; may return the seconds to count


def forget_peak() -> None:
    """Lets the peak of the resident size begin at what is in use now, where the system can do that."""
    gc.collect()
    if hasattr(library := ctypes.CDLL(None), "malloc_trim"):  # what is freed and kept is not in use
        library.malloc_trim(0)
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def serve(create: Callable[..., tuple[Run, dict[str, Any]]]) -> None:
    """Handles requests: for each number on standard input, runs that many images and replies with the times.

    Args:
        create: called with the options of the command line, one JSON object, except for `warm_up`, the number of
            images to run before the first reply, and `settle`, those to run before the time of each further one
            begins. Returns the function to run, and values to report, such as versions. The first reply has these
            values and `first_seconds`, the time of the warm-up.
    """
    options = json.loads(sys.argv[1])
    warm_up, settle = options.pop("warm_up"), options.pop("settle", 0)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps what libraries print out of the replies
    run, about = create(**options)
    started = time.perf_counter()
    run(warm_up)
    _reply(replies, {**about, "first_seconds": time.perf_counter() - started})
    for line in sys.stdin:
        continued = time.process_time()
        if settle:
            run(settle)
        started, started_cpu = time.perf_counter(), time.process_time()
        seconds = run(int(line)) or time.perf_counter() - started
        times = {"cpu_seconds": time.process_time() - started_cpu, "settling_cpu_seconds": started_cpu - continued}
        _reply(replies, {"seconds": seconds, **times})


def _reply(replies: Any, values: dict[str, Any]) -> None:
    print(json.dumps(values), file=replies, flush=True)
