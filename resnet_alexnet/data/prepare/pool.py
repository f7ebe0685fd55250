"""Runs tasks in worker processes that end when this process ends or is killed."""

import itertools
import multiprocessing.connection
import pickle
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import TypeVar, cast

from resnet_alexnet.data.images.decode import ignore_pillows_warnings
from resnet_alexnet.data.images.geometry import resize_with_one_thread
from resnet_alexnet.data.loading.processes import end_process, start_process
from resnet_alexnet.errors import InputError, TrainingError

_SECONDS = 0.2  # minimum time between two reports of a worker

Shared = TypeVar("Shared")
Task = TypeVar("Task")
# Runs a task; yields the number of items done since the last yield.
Work = Callable[[Shared, Task], Iterator[int]]


def run_tasks(
    work: Work[Shared, Task], shared: Shared, tasks: Iterable[Task], *, workers: int
) -> Generator[int, None, None]:
    """Runs every task once, in worker processes. Yields the counts that `work` yields, summed up a few times a second.

    Close the generator to stop early and end the processes. Each process has its own pipe, so that killing one leaves
    no lock behind.

    Args:
        work: a module-level function; the processes import its module.
        shared: data that every task needs, sent to each process once.
        tasks: the tasks, sent one at a time.
        workers: number of processes.

    Raises:
        InputError: `work` raised it. All processes are ended.
        TrainingError: a process was killed.
        RuntimeError: `work` raised another error. The message is the traceback.
    """
    tasks = iter(tasks)
    processes = []
    busy: list[Connection] = []
    try:
        first = list(itertools.islice(tasks, workers))
        for _ in first:
            process, connection = start_process(_serve, work)
            processes.append((process, connection))
            busy.append(connection)
        data = pickle.dumps(shared)
        for connection, task in zip(busy, first, strict=True):
            connection.send_bytes(data)
            connection.send(task)
        while busy:
            for connection in cast(list[Connection], multiprocessing.connection.wait(busy.copy())):
                message = connection.recv()
                if isinstance(message, Exception):
                    raise message
                if message is not None:
                    yield message
                    continue
                try:
                    connection.send(next(tasks))
                except StopIteration:
                    busy.remove(connection)
    except (EOFError, ConnectionError):
        raise TrainingError(
            "a worker process was killed, perhaps because memory ran out: to resume, run the same command again with "
            "fewer --workers"
        ) from None
    finally:
        for process, connection in processes:
            end_process(process, connection)


def _serve(connection: Connection, work: Work[Shared, Task]) -> None:
    """Runs a worker process. Sends counts (int), the end of a task (None), or an exception.

    The process ends when the other end of the connection is closed.
    """
    resize_with_one_thread()  # the processes are the parallelism
    ignore_pillows_warnings()
    try:
        shared = connection.recv()
        while True:
            task = connection.recv()
            try:
                for count in _throttle(work(shared, task)):
                    connection.send(count)
                connection.send(None)
            except InputError as error:
                connection.send(error)
            except ConnectionError:
                raise
            except Exception:
                connection.send(RuntimeError(traceback.format_exc()))
    except (EOFError, ConnectionError):
        return


def _throttle(counts: Iterable[int]) -> Iterator[int]:
    """Sums up counts so that they are yielded at most every `_SECONDS`."""
    total, last = 0, time.monotonic()
    for count in counts:
        total += count
        if time.monotonic() - last > _SECONDS:
            yield total
            total, last = 0, time.monotonic()
    yield total
