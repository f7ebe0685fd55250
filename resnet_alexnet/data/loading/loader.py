"""The loader: batches as a pure function of the step number.

The loader has no state. The order of an epoch is a function of (seed, epoch), a batch is a function of (seed, step).
So a run sees the same examples whether or not it is interrupted, streamed or resident, on one host or many.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Int64

from resnet_alexnet.data.images.geometry import resize_with_one_thread
from resnet_alexnet.data.loading.workers import count_threads, count_workers, read_with_workers
from resnet_alexnet.data.photos import PhotoSource, watch_unreadable
from resnet_alexnet.data.sources import Source
from resnet_alexnet.errors import InputError

ALL_ROWS = slice(None)
Chunk = dict[str, np.ndarray]
Item = TypeVar("Item", covariant=True)


# Two entries: the current epoch, and the next one, which prefetching threads may have begun.
@functools.lru_cache(maxsize=2)
def epoch_order(num_examples: int, *, seed: int, epoch: int) -> Int64[np.ndarray, "num_examples"]:
    """Returns the order of the examples in epoch `epoch` (from 0), a read-only permutation.

    Raises:
        InputError: the seed is negative.
    """
    if seed < 0:
        raise InputError(f"seed={seed} (allowed: 0 and above)")
    order = np.random.default_rng([seed, epoch]).permutation(num_examples)
    order.flags.writeable = False  # all callers share it
    return order


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Returns the number of full batches per epoch. Training drops the remainder, other examples in each epoch.

    Raises:
        InputError: batch_size is below 1 or above the number of examples.
    """
    _check_batch_size(batch_size)
    if num_examples < batch_size:
        raise InputError(
            f"batch_size={batch_size} is more than the {num_examples} training examples: lower it, or use more data"
        )
    return num_examples // batch_size


def batch_indices(step: int, num_examples: int, *, batch_size: int, seed: int) -> Int64[np.ndarray, "batch_size"]:
    """Returns the indices of the examples in the global batch at `step` (from 0), read-only.

    Raises:
        InputError: see `steps_per_epoch` and `epoch_order`.
    """
    epoch, position = divmod(step, steps_per_epoch(num_examples, batch_size))
    order = epoch_order(num_examples, seed=seed, epoch=epoch)
    return order[position * batch_size : (position + 1) * batch_size]


def chunk_length(*, num_steps: int, steps_per_call: int, boundaries: Sequence[int]) -> int:
    """Returns the steps per chunk: the largest common divisor of `num_steps` and `boundaries` up to `steps_per_call`.

    The length is the same for the whole run, so that the step is compiled once. Every boundary ends a chunk.

    Args:
        num_steps: steps in the run.
        steps_per_call: maximum number of steps per call.
        boundaries: periods, in steps, at which a chunk must end (logging, evaluation, saving); 0 is never.

    Raises:
        InputError: steps_per_call is below 1, or a period is negative.
    """
    if steps_per_call < 1:
        raise InputError(f"steps_per_call={steps_per_call} (allowed: 1 and above)")
    for boundary in boundaries:
        if boundary < 0:
            raise InputError(f"a period of {boundary} steps (allowed: 0, for never, and above)")
    period = math.gcd(num_steps, *boundaries)
    return max(length for length in range(1, steps_per_call + 1) if period % length == 0)


def train_chunks(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    num_steps: int,
    steps_per_call: int = 1,
    boundaries: Sequence[int] = (),
    rows: slice = ALL_ROWS,
    resident: bool = False,
    prefetch: int = 2,
    workers: int = 0,
    max_unreadable: int = 0,
    report: Callable[[str], None] = print,
) -> Generator[tuple[int, Chunk], None, None]:
    """Yields (next_step, chunk): the batches of the steps from `start_step` to `num_steps`, in chunks of some steps.

    All chunks have `chunk_length` steps and end at multiples of it. Only the first chunk of a resumed run may be
    shorter. Close the generator to end the prefetching threads.

    Args:
        source: the training set.
        batch_size: images in the global batch of one step.
        seed: seed of the order.
        start_step: steps already done.
        num_steps: steps in the whole run.
        steps_per_call: maximum number of steps per chunk.
        boundaries: periods, in steps, at which a chunk must end; 0 is never.
        rows: this process's rows of the global batch.
        resident: yield only indices, for data that is on the device.
        prefetch: chunks to read ahead, one thread each; 0 reads on demand. For photographs at least one chunk per core
            is read ahead. Not used if `resident`.
        workers: processes that read photographs ahead, instead of threads; see `workers.count_workers`. Other sources
            only copy images and start no processes.
        max_unreadable: maximum number of unreadable training photographs to replace; see `PhotoSource.gather`.
        report: called with one line for each replaced photograph.

    Yields:
        next_step: number of steps done after this chunk.
        chunk: arrays of leading shape (steps, local_batch): `index` Int32 if resident, else `image` UInt8 (...,
            height, width, channels) and `label` Int32.

    Raises:
        InputError: the batch is larger than the data, the seed is negative, or steps are out of range. Raised by the
            call, not by the first chunk.
    """
    if not 0 <= start_step <= num_steps:
        raise InputError(f"start_step={start_step} (allowed: 0 to num_steps={num_steps})")
    if prefetch < 0:
        raise InputError(f"prefetch={prefetch} (allowed: 0, for reading on demand, and above)")
    batch_indices(start_step, len(source), batch_size=batch_size, seed=seed)  # for its checks
    chunks = _Chunks(
        source=source,
        batch_size=batch_size,
        seed=seed,
        start_step=start_step,
        num_steps=num_steps,
        length=chunk_length(num_steps=num_steps, steps_per_call=steps_per_call, boundaries=boundaries),
        rows=rows,
        resident=resident,
    )
    if not isinstance(source, PhotoSource):
        return _read_ahead(chunks, 0 if resident else prefetch)
    workers = count_workers(workers)
    ahead = read_with_workers(chunks, workers) if workers else _read_ahead(chunks, max(prefetch, count_threads()))
    return watch_unreadable(ahead, source, most=max_unreadable, report=report)


def eval_batches(source: Source, *, batch_size: int, rows: slice = ALL_ROWS) -> Generator[Chunk, None, None]:
    """Yields every example once, in order. The last batch is padded with zeros to the full size.

    Photographs are decoded by one thread per core, at most eight. Each thread decodes a batch.

    Args:
        source: the data to evaluate on.
        batch_size: images in the global batch.
        rows: this process's rows of each global batch.

    Yields:
        `image` UInt8 (local_batch, height, width, channels), `label` Int32 (local_batch,) and `mask` Bool
        (local_batch,), which is False for padding.

    Raises:
        InputError: batch_size is below 1. Raised by the call.
    """
    _check_batch_size(batch_size)
    batches = _EvalBatches(source, batch_size, rows)
    return _read_ahead(batches, count_threads() if isinstance(source, PhotoSource) else 0)


@dataclasses.dataclass(frozen=True, eq=False)
class _Chunks:
    """The chunks of a run, with random access and picklable, so that threads or processes can read ahead."""

    source: Source
    batch_size: int
    seed: int
    start_step: int
    num_steps: int
    length: int
    rows: slice
    resident: bool

    def __len__(self) -> int:
        return self.num_steps // self.length - self.start_step // self.length

    @property
    def nbytes(self) -> int:
        """Size of the largest chunk of a run that is not resident, in bytes: image, label, unreadable."""
        num_rows = len(range(*self.rows.indices(self.batch_size)))
        return self.length * num_rows * (math.prod(self.source.image_shape) + 4 + 4)

    def __getitem__(self, index: int) -> tuple[int, Chunk]:
        aligned = (self.start_step // self.length + index) * self.length
        next_step = aligned + self.length
        batches = [self._batch(step) for step in range(max(aligned, self.start_step), next_step)]
        if len(batches) == 1:  # no copy
            return next_step, {key: value[np.newaxis] for key, value in batches[0].items()}
        return next_step, {key: np.stack([batch[key] for batch in batches]) for key in batches[0]}

    def _batch(self, step: int) -> Chunk:
        """Returns this process's rows of the batch at `step`."""
        num_examples = len(self.source)
        indices = batch_indices(step, num_examples, batch_size=self.batch_size, seed=self.seed)[self.rows]
        if self.resident:
            return {"index": indices.astype(np.int32)}
        return self.source.gather(indices, (self.seed, step // steps_per_epoch(num_examples, self.batch_size)))


@dataclasses.dataclass(frozen=True, eq=False)
class _EvalBatches:
    """The batches of an evaluation, with random access."""

    source: Source
    batch_size: int
    rows: slice

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def __getitem__(self, number: int) -> Chunk:
        """Returns a batch, padded with zeros past the end of the data."""
        first = number * self.batch_size
        indices = np.arange(first, first + self.batch_size)[self.rows]
        mask = indices < len(self.source)
        padded = {"mask": mask}
        for key, value in self.source.gather(indices[mask]).items():
            padded[key] = np.zeros((len(indices), *value.shape[1:]), value.dtype)
            padded[key][mask] = value
        return padded


class _ByNumber(Protocol[Item]):
    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Item: ...


def _read_ahead(items: _ByNumber[Item], threads: int) -> Generator[Item, None, None]:
    """Yields the items in order. Up to `threads` of Grain's threads read as many items ahead; 0 reads on demand."""
    if not threads:
        for number in range(len(items)):
            yield items[number]
        return
    import grain  # here: importing it takes seconds and imports jax; resident data needs neither

    resize_with_one_thread()  # the threads are the parallelism
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    with contextlib.closing(iter(grain.MapDataset.source(items).to_iter_dataset(options))) as iterator:
        yield from iterator


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size} (allowed: 1 and above)")
