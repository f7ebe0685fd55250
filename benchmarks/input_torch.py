"""PyTorch's process for benchmarks/input.py: RandomResizedCrop of PIL images, alone or in a DataLoader."""

import io
import itertools
import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Skip torchvision's operators: they are not needed here, and a torch of another build may lack them.
sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")

import numpy as np  # noqa: E402
import PIL  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from PIL import Image, features  # noqa: E402
from serve import Run, serve  # noqa: E402
from torchvision.transforms import RandomResizedCrop  # noqa: E402


class Photographs(torch.utils.data.Dataset):
    """Random crops of the photographs in a folder, as uint8."""

    def __init__(self, paths: list[Path], size: int):
        self._paths = paths
        self._crop = RandomResizedCrop(size)  # bilinear with antialiasing, area and aspect as ours

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Returns a crop of shape (height, width, channels), the layout that needs no transpose."""
        with open(self._paths[index], "rb") as file:
            image = Image.open(file).convert("RGB")
        return torch.from_numpy(np.array(self._crop(image)))


class Forever(torch.utils.data.Sampler):
    """Yields random indices forever, so that no epoch ends during a measurement."""

    def __init__(self, length: int):
        self._length = length

    def __iter__(self) -> Iterator[int]:
        order = list(range(self._length))
        while True:
            random.shuffle(order)
            yield from order


def create(kind: str, folder: str, size: int, batch_size: int, **options: Any) -> tuple[Run, dict[str, Any]]:
    """Creates the line `kind`: "core", "decode" or "loader"."""
    torch.set_num_threads(1)
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    if kind == "decode":
        batches, batch_size = decoded(paths), 1
    else:
        create_batches = core_batches if kind == "core" else loader_batches
        batches = create_batches(paths, size, batch_size, **options)

    def run(images: int) -> None:
        for _ in itertools.islice(batches, images // batch_size):
            pass

    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__}
    return run, {"versions": {**versions, "libjpeg-turbo of pillow": features.version("libjpeg_turbo")}}


def decoded(paths: list[Path]) -> Iterator[Image.Image]:
    """Yields decoded photographs, from files in memory."""
    for data in itertools.cycle([path.read_bytes() for path in paths]):
        yield Image.open(io.BytesIO(data)).convert("RGB")


def core_batches(paths: list[Path], size: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yields batches that this thread makes on demand, from files in memory."""
    files = [path.read_bytes() for path in paths]
    crop = RandomResizedCrop(size)
    order = iter(Forever(len(files)))
    while True:
        batch = np.empty((batch_size, size, size, 3), np.uint8)
        for row in range(batch_size):
            batch[row] = crop(Image.open(io.BytesIO(files[next(order)])).convert("RGB"))
        yield batch


def loader_batches(paths: list[Path], size: int, batch_size: int, *, workers: int) -> Iterator[torch.Tensor]:
    """Yields the batches of a DataLoader with its default settings."""
    return iter(
        torch.utils.data.DataLoader(
            Photographs(paths, size), batch_size=batch_size, sampler=Forever(len(paths)), num_workers=workers
        )
    )


if __name__ == "__main__":
    serve(create)
