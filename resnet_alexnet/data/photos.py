"""Encoded photographs with random access, and the source that decodes and crops them when a batch asks for them."""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Int, Int32, UInt8

from resnet_alexnet.data.arrays import ArraySource, Draw
from resnet_alexnet.data.images.cut import Crop, decode_crop
from resnet_alexnet.data.images.decode import UnreadableImageError, decode
from resnet_alexnet.errors import InputError

READABLE = -1  # in a batch's `unreadable`, where nothing was replaced
MOST_IN_A_ROW = 100  # unreadable photographs one after the other; more is no accident
_IN_THREADS = 256  # examples decoded or waiting to be taken
# Keeps the stream of an example's draws apart from that of an epoch's order, which has the same seed.
_VIEW_STREAM = 1

Item, Result = TypeVar("Item"), TypeVar("Result")
Chunks = Iterable[tuple[int, dict[str, np.ndarray]]]


class Photos(Protocol):
    """Encoded photographs with random access; picklable, for worker processes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        ...

    @property
    def labels(self) -> Int32[np.ndarray, "num_photos"] | None:
        """All labels, where they are known without reading the photographs."""
        ...

    @property
    def channels(self) -> int:
        """Color channels to decode to: 3, or 1 for a set of gray images."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded bytes of a photograph, and its label."""
        ...

    def where(self, index: int) -> str:
        """What to call a photograph in an error, such as its path."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoSubset:
    """Some photographs of others, perhaps with other labels and classes."""

    photos: Photos
    indices: Int[np.ndarray, "num_photos"]
    labels: Int32[np.ndarray, "num_photos"]
    classes: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Color channels to decode to."""
        return self.photos.channels

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded bytes of a photograph, and its label here."""
        return self.photos.read(int(self.indices[index]))[0], int(self.labels[index])

    def where(self, index: int) -> str:
        """What to call a photograph in an error."""
        return self.photos.where(int(self.indices[index]))


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoSource:
    """A source that reads, decodes and crops photographs as they are asked for.

    Attributes:
        photos: the encoded photographs.
        image_shape: (height, width, channels) of a view, pixels.
        train_view: makes the view for training, with the draws of one (seed, epoch, photograph).
        test_view: makes the view for testing and measuring.
    """

    photos: Photos
    image_shape: tuple[int, int, int]
    train_crop: Crop
    test_crop: Crop

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.photos.classes

    def __len__(self) -> int:
        return len(self.photos)

    def gather(self, indices: Int[np.ndarray, "batch"], draw: Draw | None = None) -> dict[str, np.ndarray]:
        """The views at `indices`: `image` UInt8 (batch, height, width, channels), `label` Int32 (batch,).

        With a draw these are training views, and where a photograph cannot be read the next one that can is in its
        place, with its own label; `unreadable` Int32 (batch,) then has the index of the one that could not, else
        READABLE. What stands in the other rows does not depend on it.

        Raises:
            InputError: without a draw, a photograph cannot be read; or very many in a row cannot.
        """
        batch = {
            "image": np.empty((len(indices), *self.image_shape), np.uint8),
            "label": np.empty(len(indices), np.int32),
        }
        if draw is not None:
            batch["unreadable"] = np.full(len(indices), READABLE, np.int32)
        for row, index in enumerate(map(int, indices)):
            if draw is None:
                batch["image"][row], batch["label"][row] = self._test_example(index)
                continue
            rng = np.random.default_rng([*draw, index, _VIEW_STREAM])
            shown, batch["image"][row], batch["label"][row] = self.next_readable(index, self.train_crop, rng)
            if shown != index:
                batch["unreadable"][row] = index
        return batch

    def _test_example(self, index: int) -> tuple[UInt8[np.ndarray, "height width channels"], int]:
        try:
            return self._example(index, self.test_crop, None)
        except UnreadableImageError as error:
            raise self._unreadable(index, error) from None

    def _unreadable(self, index: int, error: UnreadableImageError) -> InputError:
        return InputError(
            f"{self.photos.where(index)} cannot be read: {error}; repair or remove it, or let "
            "python -m resnet_alexnet.data.prepare make a set without it"
        )

    def example(self, index: int) -> tuple[UInt8[np.ndarray, "height width channels"], int]:
        """The whole photograph at `index`, and its label.

        Raises:
            InputError: it cannot be read.
        """
        try:
            data, label = self.photos.read(index)
            return decode(data, channels=self.image_shape[2]), label
        except UnreadableImageError as error:
            raise self._unreadable(index, error) from None

    def where(self, index: int) -> str:
        """What to call the photograph at `index`, such as its path."""
        return self.photos.where(index)

    def check(self, index: int) -> None:
        """Raises InputError where the photograph at `index` cannot be read for testing."""
        self._test_example(index)

    def why_unreadable(self, index: int) -> str:
        """Reads a photograph that could not be read again, to tell why."""
        try:
            self._example(index, self.test_crop, None)
        except UnreadableImageError as error:
            return f"{self.photos.where(index)} cannot be read: {error}"
        return f"{self.photos.where(index)} could not be read a while ago"

    def next_readable(
        self, index: int, crop: Crop, rng: np.random.Generator | None
    ) -> tuple[int, UInt8[np.ndarray, "height width channels"], int]:
        """Index, view and label of the photograph at `index`, or of the first after it that can be read.

        Raises:
            InputError: very many in a row cannot.
        """
        for other in range(index, index + min(MOST_IN_A_ROW, len(self))):
            other %= len(self)
            try:
                return other, *self._example(other, crop, rng)
            except UnreadableImageError as error:
                reason = error
        raise InputError(
            f"{self.photos.where(index)} and all {min(MOST_IN_A_ROW, len(self)) - 1} after it cannot be read, "
            f"the last because {reason}: is this a set of photographs?"
        )

    def _example(self, index: int, crop: Crop, rng: np.random.Generator | None) -> tuple[np.ndarray, int]:
        data, label = self.photos.read(index)
        image = decode_crop(data, crop, rng, channels=self.image_shape[2])
        if image.shape != self.image_shape:
            height, width, _ = image.shape
            raise InputError(
                f"{self.photos.where(index)} has {width} x {height} pixels, others {self.image_shape[1]} x "
                f"{self.image_shape[0]}: augment.crop='random_crop' takes photographs of any size"
            )
        return image, label


def load(
    source: PhotoSource, *, name: str, max_unreadable: int | None, progress: Callable, report: Callable[[str], None]
) -> ArraySource:
    """Decodes a whole source into memory.

    Args:
        source: photographs that are used as they are (`geometry.whole_image`).
        name: what to call the set in an error.
        max_unreadable: photographs that may be unreadable, and have the next one that is not in their place, as in
            `gather`; None for the views for testing, of which none may.
        progress: called with (an iterable, its length, a description); shows how far it is and gives it back.
        report: called with a line for each photograph that was replaced.

    Raises:
        InputError: see `gather`; or too many are unreadable.
    """

    def example(index: int) -> dict[str, np.ndarray]:
        return source.gather(np.array([index]), None if max_unreadable is None else (0, 0))

    images = np.empty((len(source), *source.image_shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    count = 0
    with contextlib.closing(map_in_threads(example, range(len(source)))) as examples:
        for index, batch in enumerate(progress(examples, len(source), f"decoding {name}")):
            images[index], labels[index] = batch["image"][0], batch["label"][0]
            if max_unreadable is not None and batch["unreadable"][0] != READABLE:
                count += 1
                report(_replaced(source.why_unreadable(index), count, max_unreadable))
    return ArraySource(images, labels, source.classes, name=name)


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int = _IN_THREADS
) -> Generator[Result, None, None]:
    """Yields function(item) for each item in turn, computed by threads, `ahead` at most that are not yet taken.

    Close it to stop early.
    """
    threads = ThreadPoolExecutor()
    waiting: collections.deque[Future[Result]] = collections.deque()
    try:
        for item in items:
            waiting.append(threads.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)


def watch_unreadable(
    chunks: Chunks, source: PhotoSource, *, most: int, report: Callable[[str], None]
) -> Generator[tuple[int, dict[str, np.ndarray]], None, None]:
    """Passes chunks on without `unreadable`; reports each photograph that was replaced once, and counts them.

    Raises:
        InputError: more than `most` different photographs could not be read.
    """
    seen: set[int] = set()
    for step, chunk in chunks:
        replaced = chunk.pop("unreadable")
        for index in np.unique(replaced[replaced != READABLE]).tolist():
            if index in seen:
                continue
            seen.add(index)
            report(_replaced(source.why_unreadable(index), len(seen), most))
        yield step, chunk


def _replaced(reason: str, count: int, most: int) -> str:
    """What to report of a photograph that was replaced, the `count`th.

    Raises:
        InputError: these are more than `most`.
    """
    if count > most:
        raise InputError(
            f"{reason}; with it {count} training photographs could not be read, more than "
            f"dataset.max_unreadable={most}: repair the set, or raise the limit"
        )
    return f"warning: {reason}; the next one is used in its place ({count} so far)"


def check_readable(source: PhotoSource, *, name: str, progress: Callable) -> None:
    """Decodes every photograph once: an evaluation would stop at one that cannot be read, long after the start.

    Raises:
        InputError: one cannot be read.
    """
    with contextlib.closing(map_in_threads(source.check, range(len(source)))) as checks:
        for _ in progress(checks, len(source), f"checking {name}"):
            pass
