"""Worker processes: started so that they leave signals to the run, and end with it, whatever ends it."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Generator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any


def start_process(serve: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Starts serve(connection, *arguments) in a process of its own; returns it and the other end of the connection.

    Of both ends, each process keeps one: a wait on it ends, with EOFError or ConnectionError, when the other process
    does. Nothing else tells a worker that a run was killed.

    Args:
        serve: a function of a module, which the process imports.
        arguments: small ones. Python writes them to a pipe, and waits for ever where a process that has ended as it
            started does not read them; what may be large goes through the connection.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, *arguments), daemon=True)
    with _signals_blocked():
        process.start()
    theirs.close()
    return process, ours


def end_process(process: BaseProcess, connection: Connection) -> None:
    """Ends a worker at once; it must hold nothing that would have to be put in order."""
    connection.close()
    process.kill()
    process.join()


@contextlib.contextmanager
def _signals_blocked() -> Generator[None, None, None]:
    """Blocks Ctrl-C and SIGTERM in this thread and, for good, in all processes that are started meanwhile.

    A terminal and a scheduler send them to the whole group of processes, but only the run itself should react, and end
    its workers when it has saved. To the run they come as soon as the block ends.
    """
    resource_tracker.ensure_running()  # the first process would start it, and Python unblocks both signals when it does
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
