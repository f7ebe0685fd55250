"""Small archives in the layout of ImageNet's official ones, with photographs of every kind that the real ones hold."""

import io
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from tests.support.images import encode, oriented, photograph

WNIDS = ("n01440764", "n01443537", "n02084071", "n03000134")
WORDS = ("tench, Tinca tinca", "goldfish, Carassius auratus", "dog, domestic dog", "chainlink fence")
# ILSVRC2012_ID of each of WNIDS: not in the order of the WordNet IDs, as in the real devkit.
IDS = (3, 1, 4, 2)
_FOLDER = "ILSVRC2012_devkit_t12/data"


@dataclass(frozen=True)
class Archives:
    """Three archives, and what is in them by name."""

    train: Path
    validation: Path
    devkit: Path
    train_photos: dict[str, bytes]
    validation_photos: dict[str, bytes]
    validation_wnids: dict[str, str]

    def flags(self) -> list[str]:
        """The command line that prepares them."""
        return [f"--train={self.train}", f"--val={self.validation}", f"--devkit={self.devkit}", "--allow_incomplete"]


def encode_kind(image: np.ndarray, kind: str = "RGB") -> bytes:
    """A file's bytes. Kinds: RGB, gray, CMYK, 16-bit (PNG), palette (PNG), PNG, rotated (by EXIF) and truncated."""
    picture = Image.fromarray(image)
    match kind:
        case "RGB":
            return encode(picture, quality=90)
        case "truncated":
            data = encode(picture, quality=90)
            return data[: len(data) // 2]
        case "gray":
            return encode(picture.convert("L"), quality=90)
        case "CMYK":
            return encode(picture.convert("CMYK"), quality=90)
        case "PNG":
            return encode(picture, "PNG")
        case "palette":
            return encode(picture.quantize(64), "PNG")
        case "16-bit":
            return encode(Image.fromarray(image[..., 0].astype(np.uint16) * 257), "PNG")
        case "rotated":
            return encode(picture, quality=90, exif=oriented(6))
        case _:
            raise ValueError(kind)


def write_archives(folder: Path, *, train_per_class: int = 6, num_validation: int = 8) -> Archives:
    """Archives of four classes. The first photographs of the first class are odd ones, one of each kind."""
    kinds = ("CMYK", "PNG", "gray", "rotated", "palette", "RGB")
    by_class: dict[str, dict[str, bytes]] = {}
    for label, wnid in enumerate(WNIDS):
        by_class[wnid] = {}
        for number in range(train_per_class):
            kind = kinds[number % len(kinds)] if label == 0 else "RGB"
            # One class of narrow and of small photographs: shorter than 256 pixels, and upright.
            size = (200 + 10 * number, 150) if label == 1 else (300 + number, 280 + 40 * label)
            by_class[wnid][f"{wnid}_{number * 37 + 2}.JPEG"] = encode_kind(
                photograph(*size, seed=100 * label + number), kind
            )
    validation = {
        f"ILSVRC2012_val_{number:08}.JPEG": encode_kind(photograph(270, 290 + number, seed=1000 + number))
        for number in range(1, num_validation + 1)
    }
    ground_truth = [IDS[(3 * number) % len(IDS)] for number in range(num_validation)]
    archives = Archives(
        train=folder / "ILSVRC2012_img_train.tar",
        validation=folder / "ILSVRC2012_img_val.tar",
        devkit=folder / "ILSVRC2012_devkit_t12.tar.gz",
        train_photos={name: data for photos in by_class.values() for name, data in photos.items()},
        validation_photos=validation,
        validation_wnids={name: WNIDS[IDS.index(i)] for name, i in zip(validation, ground_truth, strict=True)},
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_train_archive(archives.train, by_class)
    write_validation_archive(archives.validation, validation)
    write_devkit(archives.devkit, ground_truth)
    return archives


def write_train_archive(path: Path, by_class: Mapping[str, Mapping[str, bytes]]) -> None:
    """A tar of a tar for each class."""
    path.write_bytes(tar({f"{wnid}.tar": tar(photos) for wnid, photos in by_class.items()}))


def write_validation_archive(path: Path, photos: Mapping[str, bytes]) -> None:
    """A flat tar, not in the order of the names."""
    names = random.Random(0).sample(sorted(photos), len(photos))
    path.write_bytes(tar({name: photos[name] for name in names}))


def write_devkit(path: Path, ground_truth: list[int] | bytes, meta: bytes | None = None) -> None:
    """The devkit; `ground_truth` are the ILSVRC2012_IDs of the validation photographs, or the file's bytes."""
    lines = ground_truth if isinstance(ground_truth, bytes) else "".join(f"{i}\n" for i in ground_truth).encode()
    content = {
        "ILSVRC2012_devkit_t12/readme.txt": b"ImageNet Large Scale Visual Recognition Challenge 2012",
        f"{_FOLDER}/meta.mat": meta_mat() if meta is None else meta,
        f"{_FOLDER}/ILSVRC2012_validation_ground_truth.txt": lines,
    }
    path.write_bytes(tar(content, mode="w:gz"))


def meta_mat() -> bytes:
    """The synsets as Matlab stores them: first the classes, then the nodes of WordNet above them."""
    rows = [(number, wnid, words, 0) for number, wnid, words in sorted(zip(IDS, WNIDS, WORDS, strict=True))]
    rows += [(5, "n00001740", "entity", 2), (6, "n01439121", "fish genus, fishes", 2), (7, "n03122748", "covering", 1)]
    fields = (
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    )
    synsets = np.zeros((len(rows), 1), [(field, object) for field in fields])
    for row, (number, wnid, words, num_children) in enumerate(rows):
        children = np.arange(1, num_children + 1, dtype=np.float64)[np.newaxis]
        images = 1300 if num_children == 0 else 0
        synsets[row, 0] = (
            *(float(number), wnid, words, f"what {words} is", float(num_children), children),
            *(float(num_children > 0), float(images)),
        )
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": synsets}, do_compression=True)
    return file.getvalue()


def tar(files: Mapping[str, bytes], mode: str = "w:") -> bytes:
    """A tar of files, as GNU tar makes it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.GNU_FORMAT) as archive:  # pyright: ignore
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), 1_339_000_000, 0o644
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()
