"""Worker processes that leave Ctrl-C, SIGTERM and SIGHUP to the run, and end when the run ends or is killed."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Generator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any


def start_process(serve: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Starts serve(connection, *arguments) in a new process. Returns the process and our end of the connection.

    Each process keeps one end only. When one process ends, reading in the other raises EOFError or ConnectionError.
    This is how a worker notices that the run was killed.

    Args:
        serve: a module-level function; the new process imports its module.
        arguments: small arguments. Python writes them to a pipe and would wait forever if the process ended before
            reading them. Send large data through the connection.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, *arguments), daemon=True)
    with _signals_blocked():
        process.start()
    theirs.close()
    return process, ours


def end_process(process: BaseProcess, connection: Connection) -> None:
    """Kills a worker. It must not hold anything that needs to be cleaned up."""
    connection.close()
    process.kill()
    process.join()


@contextlib.contextmanager
def _signals_blocked() -> Generator[None, None, None]:
    """Blocks Ctrl-C, SIGTERM and SIGHUP in this thread during the block, and permanently in processes started in it.

    Terminals and schedulers send these signals to the whole process group. Only the run should react: it saves, then
    ends its workers. The run receives a blocked signal when the block ends.
    """
    resource_tracker.ensure_running()  # or the first process would start it, which unblocks both signals
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
