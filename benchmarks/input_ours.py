"""This project's process for benchmarks/input.py: photographs to batches, on one core or with the loader."""

import itertools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from serve import Run, serve

from resnet_alexnet.data.images import geometry
from resnet_alexnet.data.images.decode import decode
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.loading.workers import BLOCKS
from resnet_alexnet.data.photos import PhotoSource
from resnet_alexnet.data.readers.image_folder import read_image_folder

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
RAW = 256  # side of a photograph in the raw cache, in pixels
FOREVER = 2**40  # number of steps that no measurement reaches
PACKAGES = ("numpy", "opencv-python-headless", "simplejpeg", "pillow", "grain")


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded photographs in memory."""

    files: Sequence[bytes]
    classes = ("photograph",)
    labels = None
    channels = 3

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> tuple[bytes, int]:
        """Returns the encoded bytes, and the only label."""
        return self.files[index], 0

    def where(self, index: int) -> str:
        """Returns the photograph's name in messages."""
        return f"photograph {index}"


def create(kind: str, folder: str, size: int, batch_size: int, **options: Any) -> tuple[Run, dict[str, Any]]:
    """Creates the line `kind`: "core", "decode", "raw", "apart", "loader" or "grain"."""
    photos = read_image_folder(folder)["train"]
    about = {"versions": {name: version(name) for name in PACKAGES}}
    if kind == "apart":
        return apart(photos, size, batch_size, **options), about
    if kind == "loader":
        batches = loader_batches(photos, size, batch_size, **options)
    elif kind == "grain":
        batches = grain_batches(photos, size, batch_size, **options)
    else:
        geometry.resize_with_one_thread()
        files = [photos.read(index)[0] for index in range(len(photos))]
        if kind == "decode":
            pixels = map(decode, itertools.cycle(files))
            return count(pixels, 1), about
        if kind == "raw":
            files = [raw(data) for data in files]
            train_crop = partial(
                geometry.resize_random_crop,
                size=size,
                scale=(RAW, RAW),
                central_square=True,
                interpolation="bilinear",
            )
        else:
            train_crop = random_resized(size, options["interpolation"])
            if options.get("whole"):
                train_crop = any_crop(train_crop)
        batches = core_batches(Encoded(files), train_crop, size, batch_size)
    return count(batches, batch_size), about


def count(batches: Iterator[object], batch_size: int) -> Run:
    """Returns a function that consumes as many batches as contain a given number of images."""

    def run(images: int) -> None:
        for _ in itertools.islice(batches, images // batch_size):
            pass

    return run


def random_resized(size: int, interpolation: str) -> Any:
    """Returns the random crop that this benchmark uses for all libraries."""
    return geometry.RandomResizedCrop(size=size, area=AREA, aspect=ASPECT, interpolation=interpolation)


def any_crop(crop: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Wraps a crop so that the package does not recognize it and decodes whole photographs."""
    return lambda image, rng: crop(image, rng)


def source_of(photos: Any, train_crop: Any, size: int) -> PhotoSource:
    """Creates a source of photographs."""
    return PhotoSource(photos, (size, size, 3), train_crop, geometry.whole_image)


def core_batches(photos: Any, train_crop: Any, size: int, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches that this thread makes on demand."""
    source = source_of(photos, train_crop, size)
    for step in itertools.count():
        indices = loader.batch_indices(step, len(source), batch_size=batch_size, seed=0)
        yield source.gather(indices, (0, step))


def apart(photos: Any, size: int, batch_size: int, *, interpolation: str, processes: int) -> Run:
    """Runs independent processes that make batches and discard them: the limit for as many cores of this machine."""
    fork = multiprocessing.get_context("fork")
    pipes = []

    def work(orders: Connection) -> None:
        geometry.resize_with_one_thread()
        run = count(core_batches(photos, random_resized(size, interpolation), size, batch_size), batch_size)
        while True:
            run(orders.recv())
            orders.send(None)

    for _ in range(processes):
        ours, theirs = fork.Pipe()
        fork.Process(target=work, args=(theirs,), daemon=True).start()
        pipes.append(ours)

    def run(images: int) -> None:
        batches = images // batch_size
        for number, pipe in enumerate(pipes):
            pipe.send((batches + number) // processes * batch_size)
        for pipe in pipes:
            pipe.recv()

    return run


def loader_batches(
    photos: Any, size: int, batch_size: int, *, interpolation: str, workers: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yields the chunks that the training loop reads: from files, ahead, with threads or worker processes."""
    return loader.train_chunks(
        source_of(photos, random_resized(size, interpolation), size),
        batch_size=batch_size,
        seed=0,
        start_step=0,
        num_steps=FOREVER,
        workers=workers,
    )


def grain_batches(
    photos: Any, size: int, batch_size: int, *, interpolation: str, workers: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yields the same chunks from Grain's worker processes, with one thread and as many chunks ahead as ours."""
    import grain  # here: worker processes import this module, and ours need neither Grain nor jax, which it imports
    from absl import flags

    chunks = loader._Chunks(
        source=source_of(photos, random_resized(size, interpolation), size),
        batch_size=batch_size,
        seed=0,
        start_step=0,
        num_steps=FOREVER,
        length=1,
        rows=loader.ALL_ROWS,
        resident=False,
    )
    flags.FLAGS.mark_as_parsed()  # Grain reads its own flags
    one_thread = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    processes = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=BLOCKS)
    return iter(grain.MapDataset.source(chunks).to_iter_dataset(one_thread).mp_prefetch(processes, start_grains_worker))


def start_grains_worker(worker: int, workers: int) -> None:
    """Sets up a worker process of Grain in the same way as ours."""
    geometry.resize_with_one_thread()


def raw(data: bytes) -> bytes:
    """Converts a photograph to the format of the raw cache: the central square, uncompressed."""
    image = geometry.resize_shorter_side(decode(data), RAW, "area")
    return b"P6\n%d %d\n255\n" % (RAW, RAW) + geometry.center_crop(image, RAW, RAW).tobytes()


if __name__ == "__main__":
    serve(create)
