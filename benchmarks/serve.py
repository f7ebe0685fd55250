"""A side of a benchmark, as a process that does a number of images whenever it is told to.

Standard library only: a peer runs it in an environment of its own, which has nothing of this project.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Run = Callable[[int], float | None]  # does that many images; may say how many seconds counted


def serve(create: Callable[..., tuple[Run, dict[str, Any]]]) -> None:
    """Calls `create` with the options of the command line, then answers each number on standard input by doing it.

    The options are one JSON object. Of them, `warm_up` are the images to do before the first answer; `create` gets the
    others. It returns what does the images, and what is to be recorded: versions and the like. The first answer is that
    and `first_seconds`, which the warm-up took.
    """
    options = json.loads(sys.argv[1])
    warm_up = options.pop("warm_up")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    run, about = create(**options)
    started = time.perf_counter()
    run(warm_up)
    _answer(answers, {**about, "first_seconds": time.perf_counter() - started})
    for line in sys.stdin:
        started, started_cpu = time.perf_counter(), time.process_time()
        seconds = run(int(line)) or time.perf_counter() - started
        _answer(answers, {"seconds": seconds, "cpu_seconds": time.process_time() - started_cpu})


def _answer(answers: Any, values: dict[str, Any]) -> None:
    print(json.dumps(values), file=answers, flush=True)
