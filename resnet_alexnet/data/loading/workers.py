"""Worker processes that read chunks ahead into shared memory.

Grain reads ahead with threads or processes. Our processes differ from Grain's in three ways. They do not import jax,
so they start faster and use less memory. They write into anonymous shared memory that is allocated once, so nothing
can be left behind. They end when the run ends or is killed, because they only ever wait for a pipe to it.
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
from resnet_alexnet.files import guest_files, run_guests

AUTO = -1
FEW_CORES = 4  # the run's own threads keep this many cores busy: decoding and resizing release the GIL
MOST_WORKERS = 16
BLOCKS = 2  # blocks that a worker fills ahead of the run
_ALIGNMENT = 64  # alignment of an array within a block, in bytes

Chunk = dict[str, np.ndarray]
Layout = dict[str, tuple[int, tuple[int, ...], str]]  # a chunk's arrays by key: offset in bytes, shape, dtype


class Chunks(Protocol):
    """Chunks with random access. Picklable."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> tuple[int, Chunk]: ...

    @property
    def nbytes(self) -> int:
        """Size of the largest chunk, in bytes."""
        ...


def count_workers(workers: int) -> int:
    """Returns the processes for dataset.workers. AUTO: one per core, at most 16; 0 with four or fewer cores."""
    if workers != AUTO:
        return workers
    cores = count_cores()
    return 0 if cores <= FEW_CORES else min(cores, MOST_WORKERS)


def count_threads() -> int:
    """Returns the threads that decode photographs without worker processes: one per core, at most eight."""
    return min(count_cores(), 8)


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_with_workers(chunks: Chunks, workers: int) -> Generator[tuple[int, Chunk], None, None]:
    """Yields the chunks in order. Worker w reads the chunks w, w + workers, w + 2 * workers and so on.

    Raises:
        InputError: a worker raised it; raised here in place of the worker's chunk.
        TrainingError: a worker was killed.
        RuntimeError: a worker raised another error.
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
        guests = {name: path for name, path in guest_files().items() if name.encode() in data}  # a network is not
        for worker, (_, connection) in enumerate(pool):
            with contextlib.suppress(ConnectionError):  # an ended worker is noticed when its first chunk is due
                connection.send(guests)
                connection.send_bytes(data)
            for block in range(BLOCKS):
                _hand_over(connection, worker * BLOCKS + block)
        del data  # it can be large: it holds the names of all photographs
        for number in range(len(chunks)):
            process, connection = pool[number % workers]
            block, step, layout = _receive(process, connection)
            chunk = _read_block(memory.map, block * block_bytes, layout)
            _hand_over(connection, block)
            yield step, chunk


def _work(run: Connection, worker: int, workers: int, memory: "_InChild", block_bytes: int) -> None:
    """Runs a worker process: for each of its chunks, receives a free block and returns it filled."""
    resize_with_one_thread()  # the workers are the parallelism
    ignore_pillows_warnings()
    with contextlib.suppress(EOFError, ConnectionError), memory.attach() as blocks:
        run_guests(run.recv())  # the chunks may have objects of a user's own data set
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
            f"a worker process ended with exit code {process.exitcode}; -9 means that it was killed, often because "
            "the system ran out of memory: lower dataset.workers or batch_size"
        ) from None
    if isinstance(message, Exception):
        raise message
    return message


def _hand_over(connection: Connection, block: int) -> None:
    with contextlib.suppress(ConnectionError):  # an ended worker is noticed when its next chunk is due
        connection.send(block)


def _write_block(memory: mmap.mmap, start: int, chunk: Chunk) -> Layout:
    """Writes a chunk's arrays into a block and returns their layout."""
    layout: Layout = {}
    for key, array in chunk.items():
        np.ndarray(array.shape, array.dtype, memory, start)[...] = array
        layout[key] = (start, array.shape, array.dtype.str)
        start += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    return layout


def _read_block(memory: mmap.mmap, start: int, layout: Layout) -> Chunk:
    """Copies a chunk's arrays out of their block.

    The copy is needed: a jax array on a CPU may share a numpy array's memory during a step, and there is no way to know
    when it stops doing so.
    """
    return {key: np.ndarray(shape, dtype, memory, offset).copy() for key, (offset, shape, dtype) in layout.items()}


class _SharedMemory:
    """Anonymous memory that child processes can map. It is freed when the last process that maps it ends."""

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
        """Returns the argument to pass to a process that is being started."""
        return _InChild(self._descriptor, self._size)

    def close(self) -> None:
        os.close(self._descriptor)
        self.map.close()


class _InChild:
    """A handle of a `_SharedMemory` for a child process. It can only be pickled while the child is being started."""

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
