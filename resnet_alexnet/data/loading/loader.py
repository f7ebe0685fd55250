"""The loader: batches as a function of the step number alone.

Nothing here remembers where it is. The order of an epoch is a function of (seed, epoch), a batch a function of (seed,
step), so a run that is stopped and resumed, streamed or resident, on one host or many, sees the same examples.
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


# Kept: the current epoch and the one that prefetching threads may have begun.
@functools.lru_cache(maxsize=2)
def epoch_order(num_examples: int, *, seed: int, epoch: int) -> Int64[np.ndarray, "num_examples"]:
    """The order in which epoch number `epoch` (from 0) visits the examples: a read-only permutation.

    Raises:
        InputError: a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed={seed}: allowed are 0 and above")
    order = np.random.default_rng([seed, epoch]).permutation(num_examples)
    order.flags.writeable = False  # it is shared by everyone who asks for this epoch
    return order


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Whole batches in one epoch. The remainder of an epoch, different examples each time, is dropped in training.

    Raises:
        InputError: batch_size is below 1, or more than the number of examples.
    """
    _check_batch_size(batch_size)
    if num_examples < batch_size:
        raise InputError(
            f"batch_size={batch_size} is more than the {num_examples} training examples; lower it, or use more data"
        )
    return num_examples // batch_size


def batch_indices(step: int, num_examples: int, *, batch_size: int, seed: int) -> Int64[np.ndarray, "batch_size"]:
    """The examples of the global batch at `step` (from 0), read-only.

    Raises:
        InputError: see `steps_per_epoch` and `epoch_order`.
    """
    epoch, position = divmod(step, steps_per_epoch(num_examples, batch_size))
    order = epoch_order(num_examples, seed=seed, epoch=epoch)
    return order[position * batch_size : (position + 1) * batch_size]


def chunk_length(*, num_steps: int, steps_per_call: int, boundaries: Sequence[int]) -> int:
    """Steps in one chunk: the largest common divisor of `num_steps` and all `boundaries` up to `steps_per_call`.

    One length for the whole run, so that the step is compiled once and every boundary is a chunk's end.

    Args:
        num_steps: steps in the run.
        steps_per_call: the most steps that one call may take.
        boundaries: periods in steps at which a chunk must end (logging, evaluation, saving); 0 is never.

    Raises:
        InputError: steps_per_call below 1, or a negative period.
    """
    if steps_per_call < 1:
        raise InputError(f"steps_per_call={steps_per_call}: allowed are 1 and above")
    for boundary in boundaries:
        if boundary < 0:
            raise InputError(f"a period of {boundary} steps: allowed are 0 (never) and above")
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
    """Yields (next_step, chunk): the batches of the steps from `start_step` to `num_steps`, some steps at a time.

    All chunks have `chunk_length` steps and end at its multiples; only the first of a run that is resumed in between is
    shorter. Close the generator (or let it go) to end the prefetching threads.

    Args:
        source: the training set.
        batch_size: images in the global batch of one step.
        seed: seed of the order.
        start_step: steps already done.
        num_steps: steps in the whole run.
        steps_per_call: the most steps in a chunk.
        boundaries: periods in steps at which a chunk must end; 0 is never.
        rows: this process's rows of the global batch.
        resident: give indices only, for data that is on the device.
        prefetch: chunks read ahead, each by a thread of its own; 0 reads when asked. Of photographs, at least one a core
            is read ahead. Unused when resident.
        workers: processes that read photographs ahead instead of threads; see `workers.count_workers`. For other
            sources, whose images only have to be copied, none are started.
        max_unreadable: training photographs that may turn out to be unreadable; see `PhotoSource.gather`.
        report: called with a line for each of them.

    Yields:
        next_step: steps done once this chunk is.
        chunk: arrays of leading shape (steps, local_batch): `index` Int32 when resident, else `image` UInt8 (...,
            height, width, channels) and `label` Int32.

    Raises:
        InputError: a batch larger than the data, a negative seed, or steps out of range; at the call, not at the first
            chunk.
    """
    if not 0 <= start_step <= num_steps:
        raise InputError(f"start_step={start_step}: allowed are 0 to num_steps={num_steps}")
    if prefetch < 0:
        raise InputError(f"prefetch={prefetch}: allowed are 0 (read when asked) and above")
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
    """Yields every example once, in order; the last batch is filled up with zeros to the full size.

    Photographs are decoded by one thread a core, up to eight, a batch each.

    Args:
        source: the data to evaluate on.
        batch_size: images in the global batch.
        rows: this process's rows of each global batch.

    Yields:
        `image` UInt8 (local_batch, height, width, channels), `label` Int32 (local_batch,) and `mask` Bool
        (local_batch,), False where a row is filling.

    Raises:
        InputError: batch_size is below 1; at the call.
    """
    _check_batch_size(batch_size)
    batches = _EvalBatches(source, batch_size, rows)
    return _read_ahead(batches, count_threads() if isinstance(source, PhotoSource) else 0)


@dataclasses.dataclass(frozen=True, eq=False)
class _Chunks:
    """The chunks of a run by number: random access and picklable, so that threads or processes can read ahead."""

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
        """Bytes of the arrays of the largest chunk that is not resident: image, label, unreadable."""
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
        """This process's rows of the batch at `step`."""
        num_examples = len(self.source)
        indices = batch_indices(step, num_examples, batch_size=self.batch_size, seed=self.seed)[self.rows]
        if self.resident:
            return {"index": indices.astype(np.int32)}
        return self.source.gather(indices, (self.seed, step // steps_per_epoch(num_examples, self.batch_size)))


@dataclasses.dataclass(frozen=True, eq=False)
class _EvalBatches:
    """The batches of an evaluation by number."""

    source: Source
    batch_size: int
    rows: slice

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def __getitem__(self, number: int) -> Chunk:
        """The examples of a batch, zeros where it reaches past the end."""
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
    """The items in turn, the next `threads` being read meanwhile by as many of Grain's threads."""
    if not threads:
        for number in range(len(items)):
            yield items[number]
        return
    import grain  # here, because it takes seconds to import and brings jax with it; resident data needs neither

    resize_with_one_thread()  # the threads are the parallelism
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    with contextlib.closing(iter(grain.MapDataset.source(items).to_iter_dataset(options))) as iterator:
        yield from iterator


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: allowed are 1 and above")
