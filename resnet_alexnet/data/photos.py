"""Encoded photographs with random access, and the source that decodes and crops them on demand."""

import collections
import contextlib
import dataclasses
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Int, Int32, UInt8

from resnet_alexnet.data.arrays import ArraySource, Draw
from resnet_alexnet.data.images.cut import Crop, decode_crop
from resnet_alexnet.data.images.decode import MAX_PIXELS, UnreadableImageError, decode
from resnet_alexnet.errors import InputError

READABLE = -1  # value of a batch's `unreadable` for rows where nothing was replaced
MOST_IN_A_ROW = 100  # consecutive unreadable photographs; more than that is not an accident
_IN_THREADS = 256  # examples being decoded or waiting to be consumed
# Separates the random stream of an example's crop from that of an epoch's order, which has the same seed.
_CROP_STREAM = 1

Item, Result = TypeVar("Item"), TypeVar("Result")
Chunks = Iterable[tuple[int, dict[str, np.ndarray]]]


class Photos(Protocol):
    """Encoded photographs with random access. Picklable, because worker processes read them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        ...

    @property
    def labels(self) -> Int32[np.ndarray, "num_photos"] | None:
        """All labels, or None if they are only known by reading the photographs."""
        ...

    @property
    def channels(self) -> int:
        """Color channels to decode to: 3, or 1 for a set of gray images."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[bytes, int]:
        """Returns the encoded bytes and the label of a photograph."""
        ...

    def where(self, index: int) -> str:
        """Returns a photograph's name in messages, such as its path."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoSubset:
    """A subset of some photographs, with its own labels and classes."""

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
        """Returns the encoded bytes of a photograph, and its label in this subset."""
        return self.photos.read(int(self.indices[index]))[0], int(self.labels[index])

    def where(self, index: int) -> str:
        """Returns a photograph's name in messages."""
        return self.photos.where(int(self.indices[index]))


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoSource:
    """A source that reads, decodes and crops photographs on demand.

    Attributes:
        photos: the encoded photographs.
        image_shape: (height, width, channels) of a crop, in pixels.
        train_crop: makes the training crop; its random generator is a function of (seed, epoch, index).
        test_crop: makes the crop for evaluation and for measuring statistics.
        max_pixels: photographs with more pixels are unreadable.
    """

    photos: Photos
    image_shape: tuple[int, int, int]
    train_crop: Crop
    test_crop: Crop
    max_pixels: int = MAX_PIXELS

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.photos.classes

    @property
    def labels(self) -> Int32[np.ndarray, "num_photos"] | None:
        """All labels, or None if they are only known by reading the photographs."""
        return self.photos.labels

    def __len__(self) -> int:
        return len(self.photos)

    def gather(self, indices: Int[np.ndarray, "batch"], draw: Draw | None = None) -> dict[str, np.ndarray]:
        """Returns the crops at `indices`: `image` UInt8 (batch, height, width, channels), `label` Int32 (batch,).

        Without a draw these are test crops. With a draw they are training crops, and an unreadable photograph is
        replaced by the next readable one, with that one's label; `unreadable` Int32 (batch,) holds the index of the
        unreadable photograph, or READABLE. A replacement does not change the other rows.

        Raises:
            InputError: a photograph cannot be read, without a draw; or MOST_IN_A_ROW in a row cannot be read.
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
            rng = np.random.default_rng([*draw, index, _CROP_STREAM])
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
            f"{self.photos.where(index)} cannot be read: {error}; repair or remove it, or make a set without it: "
            "python -m resnet_alexnet.data.prepare --skip_unreadable"
        )

    def example(self, index: int) -> tuple[UInt8[np.ndarray, "height width channels"], int]:
        """Returns the whole photograph at `index`, and its label.

        Raises:
            InputError: it cannot be read.
        """
        try:
            data, label = self.photos.read(index)
            return decode(data, channels=self.image_shape[2], max_pixels=self.max_pixels), label
        except UnreadableImageError as error:
            raise self._unreadable(index, error) from None

    def where(self, index: int) -> str:
        """Returns the name of the photograph at `index` in messages, such as its path."""
        return self.photos.where(index)

    def check(self, index: int) -> None:
        """Raises InputError if the test crop of the photograph at `index` cannot be made."""
        self._test_example(index)

    def why_unreadable(self, index: int) -> str:
        """Reads an unreadable photograph once more and returns the reason, for messages."""
        try:
            self._example(index, self.test_crop, None)
        except UnreadableImageError as error:
            return f"{self.photos.where(index)} cannot be read: {error}"
        return f"{self.photos.where(index)} could not be read earlier, but can be read now"

    def next_readable(
        self, index: int, crop: Crop, rng: np.random.Generator | None
    ) -> tuple[int, UInt8[np.ndarray, "height width channels"], int]:
        """Returns index, crop and label of the photograph at `index` or, if unreadable, of the next readable one.

        Raises:
            InputError: MOST_IN_A_ROW in a row cannot be read.
        """
        for other in range(index, index + min(MOST_IN_A_ROW, len(self))):
            other %= len(self)
            try:
                return other, *self._example(other, crop, rng)
            except UnreadableImageError as error:
                reason = error
        raise InputError(
            f"{self.photos.where(index)} and all {min(MOST_IN_A_ROW, len(self)) - 1} after it cannot be read "
            f"(the last: {reason}); check that this is a set of photographs"
        )

    def _example(self, index: int, crop: Crop, rng: np.random.Generator | None) -> tuple[np.ndarray, int]:
        data, label = self.photos.read(index)
        image = decode_crop(data, crop, rng, channels=self.image_shape[2], max_pixels=self.max_pixels)
        if image.shape != self.image_shape:
            height, width, _ = image.shape
            raise InputError(
                f"{self.photos.where(index)} has {width} x {height} pixels, but other images {self.image_shape[1]} x "
                f"{self.image_shape[0]}: for photographs of different sizes set augment.crop='random_crop'"
            )
        return image, label


def load(
    source: PhotoSource, *, name: str, max_unreadable: int | None, progress: Callable, report: Callable[[str], None]
) -> ArraySource:
    """Decodes a whole source into memory.

    Args:
        source: photographs that are not cropped (`geometry.whole_image`).
        name: name of the set in messages.
        max_unreadable: unreadable photographs to replace at most, as in `gather`; None for test crops, where an
            unreadable photograph is an error.
        progress: a `ProgressFn`.
        report: called with one line for each replaced photograph.

    Raises:
        InputError: more than `max_unreadable` photographs are unreadable; or see `gather`.
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
    """Yields function(item) for each item, in order. Threads compute at most `ahead` results ahead of the consumer.

    Close the generator to stop early.
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
    """Yields the chunks without `unreadable`. Reports each unreadable photograph once and counts them.

    Raises:
        InputError: more than `most` different photographs cannot be read.
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
    """Returns the warning for the `count`th replaced photograph.

    Raises:
        InputError: `count` is above `most`.
    """
    if count > most:
        raise InputError(
            f"{reason}; {count} training photographs could not be read, more than "
            f"dataset.max_unreadable={most}: repair the set, or raise the limit"
        )
    return f"warning: {reason}; the next readable photograph replaces it ({count} replaced so far)"


def check_readable(source: PhotoSource, *, name: str, progress: Callable) -> None:
    """Decodes every photograph once, so that an unreadable one fails at the start, not at the first evaluation.

    Raises:
        InputError: a photograph cannot be read.
    """
    with contextlib.closing(map_in_threads(source.check, range(len(source)))) as checks:
        for _ in progress(checks, len(source), f"checking {name}"):
            pass


def name_images(split: str, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of a split's images in result files. They stay the same if the set is moved.

    Args:
        split: prefix of the names.
        names: paths of the images, whose common folder is removed; or their numbers.
    """
    folder = os.path.commonpath([os.path.dirname(name) for name in names])
    return tuple(f"{split}/{name[len(folder) :].lstrip(os.sep)}" for name in names)
