"""The loader: batches as a function of the step number alone.

Nothing here remembers where it is. The order of an epoch is a function of (seed, epoch), a batch a function of (seed,
step), so a run that is stopped and resumed, streamed or resident, on one host or many, sees the same examples.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from jaxtyping import Int32, Int64

from resnet_alexnet.data.sources import Source
from resnet_alexnet.errors import InputError

ALL_ROWS = slice(None)
Chunk = dict[str, np.ndarray]


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
      prefetch: chunks read ahead, each by a thread of its own; 0 reads when asked. Unused when resident.

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
    return _in_turn(chunks) if resident else _read_ahead(chunks, prefetch)


def eval_batches(source: Source, *, batch_size: int, rows: slice = ALL_ROWS) -> Iterator[Chunk]:
    """Yields every example once, in order; the last batch is filled up with zeros to the full size.

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
    return (
        _eval_batch(source, np.arange(first, first + batch_size)[rows]) for first in range(0, len(source), batch_size)
    )


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

    def __getitem__(self, index: int) -> tuple[int, Chunk]:
        aligned = (self.start_step // self.length + index) * self.length
        next_step = aligned + self.length
        indices = self._indices(range(max(aligned, self.start_step), next_step))
        if self.resident:
            return next_step, {"index": indices}
        batch = self.source.gather(indices.reshape(-1))
        return next_step, {key: value.reshape(indices.shape + value.shape[1:]) for key, value in batch.items()}

    def _indices(self, steps: range) -> Int32[np.ndarray, "steps local_batch"]:
        of_step = functools.partial(
            batch_indices, num_examples=len(self.source), batch_size=self.batch_size, seed=self.seed
        )
        return np.stack([of_step(step)[self.rows] for step in steps]).astype(np.int32)


def _in_turn(chunks: _Chunks) -> Generator[tuple[int, Chunk], None, None]:
    for number in range(len(chunks)):
        yield chunks[number]


def _read_ahead(chunks: _Chunks, prefetch: int) -> Generator[tuple[int, Chunk], None, None]:
    """The chunks in turn, the next `prefetch` being read meanwhile by Grain's threads."""
    import grain  # here, because it takes seconds to import and brings jax with it; resident data needs neither

    options = grain.ReadOptions(num_threads=prefetch, prefetch_buffer_size=prefetch)
    dataset = grain.MapDataset.source(chunks).to_iter_dataset(options)
    with contextlib.closing(iter(dataset)) as iterator:
        yield from iterator


def _eval_batch(source: Source, indices: np.ndarray) -> Chunk:
    """The examples at `indices`, zeros where an index is past the end."""
    mask = indices < len(source)
    padded = {"mask": mask}
    for key, value in source.gather(indices[mask]).items():
        padded[key] = np.zeros((len(indices), *value.shape[1:]), value.dtype)
        padded[key][mask] = value
    return padded


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: allowed are 1 and above")
