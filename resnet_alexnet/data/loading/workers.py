"""Worker processes that read chunks ahead into memory they share with the run.

Grain reads ahead with threads, and would with processes. Ours differ from its in three things that matter here. They
import no jax, so they start in a fraction of the time and the memory. They write into blocks that are allocated once
and have no name, so nothing can be left behind. And they end when the run does, whatever ended it, because all that
they ever wait for is a pipe to it.
"""

import contextlib
import mmap
import multiprocessing.reduction
import os
import pickle
import tempfile
import traceback
from collections.abc import Generator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np

from resnet_alexnet.data.images.decode import ignore_pillows_warnings
from resnet_alexnet.data.images.geometry import resize_with_one_thread
from resnet_alexnet.data.loading.processes import end_process, start_process
from resnet_alexnet.errors import InputError, TrainingError

AUTO = -1
FEW_CORES = 4  # threads of the run itself keep as many busy: decoding and resizing leave Python's lock
MOST_WORKERS = 16
BLOCKS = 2  # that a worker fills ahead of the run
_ALIGNMENT = 64  # bytes; of an array within a block

Chunk = dict[str, np.ndarray]
Layout = dict[str, tuple[int, tuple[int, ...], str]]  # of a chunk in its block: offset in bytes, shape, dtype by key


class Chunks(Protocol):
    """Numbered chunks; picklable."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> tuple[int, Chunk]: ...

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays of the largest chunk."""
        ...


def count_workers(workers: int) -> int:
    """Processes to start for dataset.workers: on AUTO one a core, up to 16, and none on a machine of four or fewer."""
    if workers != AUTO:
        return workers
    cores = count_cores()
    return 0 if cores <= FEW_CORES else min(cores, MOST_WORKERS)


def count_threads() -> int:
    """Threads that decode photographs, where no processes do: one a core, up to eight, each a batch."""
    return min(count_cores(), 8)


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_with_workers(chunks: Chunks, workers: int) -> Generator[tuple[int, Chunk], None, None]:
    """Yields the chunks in turn, worker number w reading those whose number is w, w + workers, w + 2 workers ...

    Raises:
        InputError: what a worker met, when the turn of its chunk comes.
        TrainingError: a worker was killed.
        RuntimeError: a worker failed otherwise.
    """
    workers = min(workers, len(chunks))
    block_bytes = chunks.nbytes + 16 * _ALIGNMENT
    with contextlib.ExitStack() as stack:
        memory = _SharedMemory(max(workers, 1) * BLOCKS * block_bytes)
        stack.callback(memory.close)
        pool = []
        for worker in range(workers):
            process, connection = start_process(_work, worker, workers, memory.to_child(), block_bytes)
            stack.callback(end_process, process, connection)
            pool.append((process, connection))
        data = pickle.dumps(chunks)
        for worker, (_, connection) in enumerate(pool):
            with contextlib.suppress(ConnectionError):  # one that has ended is noticed when its first chunk is due
                connection.send_bytes(data)
            for block in range(BLOCKS):
                _hand_over(connection, worker * BLOCKS + block)
        del data  # as large as the names of all photographs
        for number in range(len(chunks)):
            process, connection = pool[number % workers]
            block, step, layout = _receive(process, connection)
            chunk = _read_block(memory.map, block * block_bytes, layout)
            _hand_over(connection, block)
            yield step, chunk


def _work(run: Connection, worker: int, workers: int, memory: "_InChild", block_bytes: int) -> None:
    """The life of a worker process: for each of its chunks, takes a free block and hands it back full."""
    resize_with_one_thread()  # the workers are the parallelism
    ignore_pillows_warnings()
    with contextlib.suppress(EOFError, ConnectionError), memory.attach() as blocks:
        chunks: Chunks = run.recv()
        for number in range(worker, len(chunks), workers):
            block = run.recv()
            try:
                step, chunk = chunks[number]
            except InputError as error:
                run.send(error)
                return
            except Exception:
                run.send(RuntimeError(f"a worker process failed:\n{traceback.format_exc()}"))
                return
            run.send((block, step, _write_block(blocks, block * block_bytes, chunk)))


def _receive(process: BaseProcess, connection: Connection) -> tuple[int, int, Layout]:
    try:
        message = connection.recv()
    except (EOFError, ConnectionError):
        process.join()
        raise TrainingError(
            f"a worker process ended with exit code {process.exitcode}; -9 means that it was killed, often "
            "by the system for want of memory: lower dataset.workers or batch_size"
        ) from None
    if isinstance(message, Exception):
        raise message
    return message


def _hand_over(connection: Connection, block: int) -> None:
    with contextlib.suppress(ConnectionError):  # one that has ended is noticed when its next chunk is due
        connection.send(block)


def _write_block(memory: mmap.mmap, start: int, chunk: Chunk) -> Layout:
    """Writes a chunk's arrays into a block and returns where they are."""
    layout: Layout = {}
    for key, array in chunk.items():
        np.ndarray(array.shape, array.dtype, memory, start)[...] = array
        layout[key] = (start, array.shape, array.dtype.str)
        start += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    return layout


def _read_block(memory: mmap.mmap, start: int, layout: Layout) -> Chunk:
    """Copies a chunk's arrays out of their block.

    A device array on a CPU may share a host array's memory while a step is under way, and nobody says when it no longer
    does.
    """
    return {key: np.ndarray(shape, dtype, memory, offset).copy() for key, (offset, shape, dtype) in layout.items()}


class _SharedMemory:
    """Memory without a name that child processes can map: gone when the last of them is."""

    def __init__(self, size: int):
        self._size = size
        if hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create("chunks")
        else:
            with tempfile.TemporaryFile() as file:
                self._descriptor = os.dup(file.fileno())
        os.ftruncate(self._descriptor, size)
        self.map = mmap.mmap(self._descriptor, size)

    def to_child(self) -> "_InChild":
        """What a process that is being started needs."""
        return _InChild(self._descriptor, self._size)

    def close(self) -> None:
        os.close(self._descriptor)
        self.map.close()


class _InChild:
    """The way of a `_SharedMemory` into a child process; can be pickled only while the child is being started."""

    def __init__(self, descriptor: int, size: int):
        self._descriptor, self._size = descriptor, size

    def __reduce__(self) -> tuple[Any, ...]:
        return _InChild._rebuild, (multiprocessing.reduction.DupFd(self._descriptor), self._size)

    @classmethod
    def _rebuild(cls, descriptor: Any, size: int) -> "_InChild":
        return cls(descriptor.detach(), size)

    def attach(self) -> mmap.mmap:
        """Maps the memory in the child."""
        return mmap.mmap(self._descriptor, self._size)
