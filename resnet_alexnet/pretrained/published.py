"""Published weights by name, and how they are downloaded.

Errors are those of the publisher, in percent: on ImageNet's validation set, or on CIFAR's test set.

Source: torchvision's documentation of its weights; the README files of github.com/akamaster/pytorch_resnet_cifar10 and
github.com/chenyaofo/pytorch-cifar-models. All of them name a file by the beginning of its SHA-256.
"""

import dataclasses
import hashlib
import os
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_alexnet.data.sources import ProgressFn, no_progress
from resnet_alexnet.errors import InputError, nearest
from resnet_alexnet.files import atomic_write, user_cache
from resnet_alexnet.pretrained.preprocessing import Preprocessing

CHUNK = 2**20  # bytes
_TORCHVISION = "https://download.pytorch.org/models"
_AKAMASTER = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models"
_CHENYAOFO = "https://github.com/chenyaofo/pytorch-cifar-models/releases/download/resnet"
_CHENYAOFO_PIXELS = {
    10: ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    100: ((0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761)),
}


@dataclass(frozen=True)
class Published:
    """A published weight file.

    Attributes:
        url: where it is.
        model: the model that it holds.
        error: top-1 error, percent.
        preprocessing: what differs from the usual preprocessing of such weights: fields of `Preprocessing`.
    """

    url: str
    model: str
    error: float
    preprocessing: dict[str, Any]

    def restate(self, usual: Preprocessing) -> Preprocessing:
        """The preprocessing that its publisher states, which is `usual` except for what differs."""
        arrays = {
            name: np.array(self.preprocessing[name], np.float32)
            for name in ("mean", "std")
            if name in self.preprocessing
        }
        return dataclasses.replace(usual, **{**self.preprocessing, **arrays})

    @property
    def file(self) -> str:
        """The name of the file."""
        return self.url.rpartition("/")[2]

    @property
    def checksum(self) -> str:
        """The beginning of its SHA-256, in hexadecimal digits."""
        match = re.search(r"-([0-9a-f]{8})\.", self.file)
        return match[1] if match else ""


def _torchvision(file: str, model: str, error: float, **preprocessing: Any) -> Published:
    return Published(f"{_TORCHVISION}/{file}.pth", model, error, preprocessing)


def _chenyaofo(depth: int, classes: int, checksum: str, error: float) -> Published:
    mean, std = (tuple(255 * value for value in values) for values in _CHENYAOFO_PIXELS[classes])
    url = f"{_CHENYAOFO}/cifar{classes}_resnet{depth}-{checksum}.pt"
    return Published(url, f"cifar_resnet{depth}", error, {"mean": mean, "std": std})


PUBLISHED = {
    "torchvision:alexnet": _torchvision("alexnet-owt-7be5be79", "alexnet_owt", 43.478),
    "torchvision:resnet18": _torchvision("resnet18-f37072fd", "resnet18", 30.242),
    "torchvision:resnet34": _torchvision("resnet34-b627a593", "resnet34", 26.686),
    "torchvision:resnet50": _torchvision("resnet50-0676ba61", "resnet50", 23.870),
    "torchvision:resnet101": _torchvision("resnet101-63fe2227", "resnet101", 22.626),
    "torchvision:resnet152": _torchvision("resnet152-394f9c45", "resnet152", 21.688),
    "torchvision:resnet50_v2": _torchvision("resnet50-11ad3fa6", "resnet50", 19.142, shorter_side=232),
    "torchvision:resnet101_v2": _torchvision("resnet101-cd907fc2", "resnet101", 18.114, shorter_side=232),
    "torchvision:resnet152_v2": _torchvision("resnet152-f82ba261", "resnet152", 17.716, shorter_side=232),
    **{
        f"akamaster:resnet{depth}": Published(
            f"{_AKAMASTER}/resnet{depth}-{checksum}.th", f"cifar_resnet{depth}", error, {}
        )
        for depth, checksum, error in (
            (20, "12fca82f", 8.27),
            (32, "d509ac18", 7.37),
            (44, "014dd654", 6.90),
            (56, "4bfd9763", 6.61),
            (110, "1d1ed7c2", 6.32),
            (1202, "f3b1deed", 6.18),
        )
    },
    **{
        f"chenyaofo:cifar{classes}_resnet{depth}": _chenyaofo(depth, classes, checksum, error)
        for depth, classes, checksum, error in (
            (20, 10, "4118986f", 7.40),
            (32, 10, "ef93fc4d", 6.47),
            (44, 10, "2a3cabcb", 5.99),
            (56, 10, "187c023a", 5.63),
            (20, 100, "23dac2f1", 31.17),
            (32, 100, "84213ce6", 29.84),
            (44, 100, "ffe32858", 28.37),
            (56, 100, "f2eff4c8", 27.37),
        )
    },
}


def find(name: str) -> Published | None:
    """The published weights called `name`; None if it is not of the form SOURCE:NAME, but a path.

    Raises:
        InputError: there are no weights of that name.
    """
    if not re.fullmatch(r"[a-z]\w+:\w+", name):
        return None
    if name not in PUBLISHED:
        raise InputError(
            f"no published weights are called {name!r}{nearest(name, PUBLISHED)} (docs/weights.md lists them)"
        )
    return PUBLISHED[name]


def fetch(published: Published, *, progress: ProgressFn = no_progress) -> Path:
    """The path of a published file on this machine: torch's copy, ours, or a download., whose checksum is checked.

    Raises:
        InputError: it cannot be downloaded, which names the address, or it is damaged.
    """
    cache = user_cache()
    ours = cache / "resnet_alexnet" / published.file
    torch_home = Path(os.environ.get("TORCH_HOME") or cache / "torch")
    for path in (ours, torch_home / "hub" / "checkpoints" / published.file):
        if path.is_file():
            with path.open("rb") as file:
                if not hashlib.file_digest(file, "sha256").hexdigest().startswith(published.checksum):
                    raise InputError(f"{path} is damaged: its checksum is not {published.checksum}; remove it")
            return path
    remedy = f"download it elsewhere and name the file, or put it at {ours}"
    try:
        with urllib.request.urlopen(published.url, timeout=30) as response:
            chunks = iter(lambda: response.read(CHUNK), b"")
            size = int(response.headers.get("Content-Length") or 0)
            shown = progress(chunks, max(1, -(-size // CHUNK)), f"downloading {published.file}, MiB")
            ours.parent.mkdir(parents=True, exist_ok=True)
            hasher = hashlib.sha256()
            with atomic_write(ours) as temporary, temporary.open("wb") as file:
                for chunk in shown:
                    hasher.update(chunk)
                    file.write(chunk)
                if not hasher.hexdigest().startswith(published.checksum):
                    raise InputError(f"{published.url} came with another checksum than {published.checksum}: {remedy}")
    except OSError as error:  # URLError, a time-out, a lost connection
        raise InputError(f"{published.url} cannot be downloaded ({error}): {remedy}") from None
    return ours
