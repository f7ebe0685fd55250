"""The shards of a prepared set: array_record files that TFDS and Grain read.

A shard is written under a temporary name and renamed when it is complete and on disk. Then a file with its `ShardInfo`
and the sums for the statistics is written, which marks the shard as finished. Finished shards are not written again.
"""

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_module
from jaxtyping import Int64

from resnet_alexnet.data.images.decode import UnreadableImageError
from resnet_alexnet.data.photos import Photos
from resnet_alexnet.data.prepare.measurements import Measurements
from resnet_alexnet.data.prepare.recode import Recoding, recode
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write

# One uncompressed photograph per group: random access reads only what it needs, and JPEGs do not compress further.
_WRITER_OPTIONS = "group_size:1,uncompressed"
RESUME = "free disk space, then run the same command again; it resumes after the files that are complete"
FINISHED = "finished"  # folder with one file per finished shard
_MEASURED = "train"  # the split whose statistics are measured


@dataclass(frozen=True)
class Set:
    """A set in preparation.

    Attributes:
        folder: contains the shards in `data`, and one file per finished shard in FINISHED.
        name: the set's name in TFDS.
        splits: the photographs of each split.
        recoding: how they are stored.
        skip_unreadable: leave out unreadable photographs instead of raising an error.
    """

    folder: Path
    name: str
    splits: Mapping[str, Photos]
    recoding: Recoding
    skip_unreadable: bool = False

    @property
    def data(self) -> Path:
        """The folder of the shards."""
        return self.folder / "data"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return next(iter(self.splits.values())).classes


@dataclass(frozen=True, eq=False)
class Shard:
    """The photographs to write to one file.

    Attributes:
        split: name of the split.
        number: number of the shard in the split, from 0.
        count: number of shards in the split.
        indices: indices of the photographs, in the order of the file.
        names: their names, which are stored in the records.
        sizes_sha256: `digest_sizes` of their sizes.
    """

    split: str
    number: int
    count: int
    indices: Int64[np.ndarray, "photos"]
    names: tuple[str, ...]
    sizes_sha256: str

    def file_name(self, name: str) -> str:
        """Returns the file name that TFDS uses in the set `name`."""
        return f"{name}-{self.split}.array_record-{self.number:05}-of-{self.count:05}"


@dataclass(frozen=True)
class ShardInfo:
    """The contents of a finished shard.

    Attributes:
        file: file name.
        bytes: file size.
        sha256: checksum of the file.
        sizes_sha256: `Shard.sizes_sha256` when the shard was written.
        records: number of records, one per photograph.
        payload: size of all records in bytes, without the overhead of the file format.
        changed: names of the re-encoded photographs, by reason.
        unreadable: reasons for leaving out photographs, by name.
    """

    file: str
    bytes: int
    sha256: str
    sizes_sha256: str
    records: int
    payload: int
    changed: dict[str, list[str]]
    unreadable: dict[str, str]


def shuffled(names: Sequence[str]) -> Int64[np.ndarray, "photos"]:
    """Returns a pseudorandom order that depends only on the names. As in TFDS, parts of a split are random samples."""
    keys = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
    return np.array(sorted(range(len(names)), key=lambda index: (keys[index], names[index])), np.int64)


def create_shards(
    split: str, names: Sequence[str], sizes: Int64[np.ndarray, "num_photos"], *, photos_per_shard: int
) -> list[Shard]:
    """Divides a split into shards of about the same number of photographs.

    Args:
        split: name of the split.
        names: names of its photographs.
        sizes: their sizes, in bytes.
        photos_per_shard: maximum number of photographs per shard.
    """
    parts = np.array_split(shuffled(names), -(-len(names) // photos_per_shard))
    return [
        Shard(
            split, number, len(parts), part, tuple(names[index] for index in map(int, part)), digest_sizes(sizes[part])
        )
        for number, part in enumerate(parts)
    ]


def digest_sizes(sizes: Int64[np.ndarray, "photos"]) -> str:
    """Returns a checksum of file sizes. It detects photographs that were replaced by others of another size."""
    return hashlib.sha256(sizes.tobytes()).hexdigest()


def features(classes: Sequence[str], encoding: str) -> Any:
    """Returns the FeaturesDict of a record, the same as TFDS has for imagenet2012."""
    import tensorflow_datasets as tfds  # here: importing it is slow and writes environment variables

    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg" if encoding == "jpeg" else None),
            "label": tfds.features.ClassLabel(names=list(classes)),
            "file_name": tfds.features.Text(),
        }
    )


def write_shard(prepared: Set, shard: Shard) -> Iterator[int]:
    """Writes a shard and its `ShardInfo`, unless it is finished. Yields the number of photographs done since last time.

    Raises:
        InputError: a photograph cannot be read and `skip_unreadable` is off, or the shard cannot be written. No part of
            the shard is left behind.
    """
    path = prepared.data / shard.file_name(prepared.name)
    info_path = _info_path(prepared, shard)
    if _is_finished(shard, path, info_path):
        yield len(shard.indices)
        return
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    photos = prepared.splits[shard.split]
    serializer = ExampleSerializer(features(prepared.classes, prepared.recoding.encoding).get_serialized_info())
    measurements = Measurements()
    sizes: list[int] = []
    changed: dict[str, list[str]] = {}
    unreadable: dict[str, str] = {}
    with atomic_write(path, remedy=RESUME) as temporary:
        with _writer(temporary) as writer:
            for index, name in zip(map(int, shard.indices), shard.names, strict=True):
                yield 1
                try:
                    data, label = photos.read(index)
                    recoded = recode(data, prepared.recoding)
                except UnreadableImageError as error:
                    if not prepared.skip_unreadable:
                        raise InputError(
                            f"{photos.where(index)} cannot be read: {error}; replace it, or pass --skip_unreadable to "
                            "leave out unreadable photographs"
                        ) from None
                    unreadable[name] = str(error)
                    continue
                example = serializer.get_tf_example({"image": recoded.data, "label": label, "file_name": name.encode()})
                # By default, the order of the fields differs between processes.
                message = example.SerializeToString(deterministic=True)
                writer.write(message)
                sizes.append(len(message))
                for change in recoded.changes:
                    changed.setdefault(change, []).append(name)
                if shard.split == _MEASURED:
                    measurements.add(recoded.image)
        with temporary.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    info = ShardInfo(path.name, size, sha256, shard.sizes_sha256, len(sizes), sum(sizes), changed, unreadable)
    _save_info(info_path, info, measurements)


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[Any]:
    """Opens an array_record writer. Its errors, such as a full disk, become OSError."""
    try:
        writer = array_record_module.ArrayRecordWriter(os.fspath(path), _WRITER_OPTIONS)
        try:
            yield writer
        finally:
            writer.close()
    except RuntimeError as error:  # the writer's only error: "write() failed: No space left on device; writing FILE"
        raise OSError(str(error).partition(";")[0]) from None


def _info_path(prepared: Set, shard: Shard) -> Path:
    return prepared.folder / FINISHED / f"{shard.split}-{shard.number:05}.npz"


def _is_finished(shard: Shard, path: Path, info_path: Path) -> bool:
    """Whether a shard is complete, matches its `ShardInfo`, and none of its photographs was replaced since."""
    try:
        info, _ = _load_info(info_path)
        with path.open("rb") as file:
            found = (info.sizes_sha256, info.sha256)
            return found == (shard.sizes_sha256, hashlib.file_digest(file, "sha256").hexdigest())
    # The file is missing, or a power failure left it without its content.
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return False


def _save_info(path: Path, info: ShardInfo, measurements: Measurements) -> None:
    arrays: dict[str, Any] = {"info": np.array(json.dumps(asdict(info))), **measurements.to_arrays()}
    with atomic_write(path, remedy=RESUME) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _load_info(path: Path) -> tuple[ShardInfo, Measurements]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return ShardInfo(**json.loads(str(arrays["info"]))), Measurements.from_arrays(arrays)


def count_finished(prepared: Set) -> int:
    """Returns the number of finished shards."""
    return len(list((prepared.folder / FINISHED).glob("[!.]*.npz")))


def load_infos(prepared: Set, shards: Sequence[Shard]) -> tuple[list[ShardInfo], Measurements]:
    """Loads the infos of finished shards, and the merged measurements of the training shards."""
    infos = []
    total = Measurements()
    for shard in shards:
        info, measurements = _load_info(_info_path(prepared, shard))
        infos.append(info)
        if shard.split == _MEASURED:
            total.merge(measurements)
    return infos, total


def write_metadata(prepared: Set, version: str, infos: Mapping[str, Sequence[ShardInfo]]) -> None:
    """Writes the metadata that TFDS needs: dataset_info.json, features.json, label.labels.txt."""
    import tensorflow_datasets as tfds

    template = tfds.core.ShardedFileTemplate(
        data_dir=prepared.data,
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        dataset_name=prepared.name,
        filetype_suffix="array_record",
    )
    tfds.folder_dataset.write_metadata(
        data_dir=prepared.data,
        features=features(prepared.classes, prepared.recoding.encoding),
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[info.records for info in of_split],
                num_bytes=sum(info.payload for info in of_split),
                filename_template=template.replace(split=split),
            )
            for split, of_split in infos.items()
        ],
        filename_template=template,
        version=version,
        supervised_keys=("image", "label"),
        check_data=False,
    )
