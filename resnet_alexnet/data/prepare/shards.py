"""A prepared set's files: shards of records as TFDS and Grain read them, each whole or not there, and their records.

A shard is written under a temporary name. When it is complete and on the disk it gets its own, and then a record of it
is written: what it holds, its checksum, and the sums for the statistics. A shard with a record is never written again.
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

# One photograph a chunk, as it is: random access reads no more than it needs, and JPEGs do not compress.
_WRITER_OPTIONS = "group_size:1,uncompressed"
GO_ON = "make room, then run the same command again; it goes on from the files that are complete"
_MEASURED = "train"  # the split whose statistics are taken


@dataclass(frozen=True)
class Set:
    """A set that is being prepared.

    Attributes:
        folder: holds the shards in `data` and the records in `records`.
        name: as TFDS knows it.
        splits: the photographs of each split.
        recoding: what is done to them.
        skip_unreadable: leave out what cannot be read, instead of stopping.
    """

    folder: Path
    name: str
    splits: Mapping[str, Photos]
    recoding: Recoding
    skip_unreadable: bool = False

    @property
    def data(self) -> Path:
        """Where the shards are."""
        return self.folder / "data"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return next(iter(self.splits.values())).classes


@dataclass(frozen=True, eq=False)
class Shard:
    """What belongs into one file.

    Attributes:
        split, number, count: it is shard `number` (from 0) of `count` of the split.
        indices: the photographs, in the order of the file.
        names: their names, which stand in the records.
        sizes_sha256: what `digest_sizes` makes of their sizes.
    """

    split: str
    number: int
    count: int
    indices: Int64[np.ndarray, "photos"]
    names: tuple[str, ...]
    sizes_sha256: str

    def file_name(self, name: str) -> str:
        """As TFDS names the files of the set called `name`."""
        return f"{name}-{self.split}.array_record-{self.number:05}-of-{self.count:05}"


@dataclass(frozen=True)
class Record:
    """What a finished shard holds.

    Attributes:
        file, bytes, sha256: the file.
        sizes_sha256: the shard's, of the photographs that it was made of.
        records: photographs in it; payload: bytes of them without the file's own.
        changed: names of the photographs that were encoded anew, by reason.
        unreadable: names of the photographs that were left out, with reasons.
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
    """An order that looks random and depends on the names alone, as TFDS's does, so that sub-splits are random too."""
    keys = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
    return np.array(sorted(range(len(names)), key=lambda index: (keys[index], names[index])), np.int64)


def create_shards(
    split: str, names: Sequence[str], sizes: Int64[np.ndarray, "num_photos"], *, photos_per_shard: int
) -> list[Shard]:
    """Divides a split into shards of at most `photos_per_shard`, all of about the same size.

    `names` and `sizes`, in bytes, are those of its photographs.
    """
    parts = np.array_split(shuffled(names), -(-len(names) // photos_per_shard))
    return [
        Shard(
            split, number, len(parts), part, tuple(names[index] for index in map(int, part)), digest_sizes(sizes[part])
        )
        for number, part in enumerate(parts)
    ]


def digest_sizes(sizes: Int64[np.ndarray, "photos"]) -> str:
    """A checksum of the sizes of photographs, which is another when one was replaced by one of another size."""
    return hashlib.sha256(sizes.tobytes()).hexdigest()


def features(classes: Sequence[str], encoding: str) -> Any:
    """What a record holds, as TFDS's FeaturesDict; its own for imagenet2012."""
    import tensorflow_datasets as tfds  # here: it takes long to import, and writes into the environment

    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg" if encoding == "jpeg" else None),
            "label": tfds.features.ClassLabel(names=list(classes)),
            "file_name": tfds.features.Text(),
        }
    )


def write_shard(prepared: Set, shard: Shard) -> Iterator[int]:
    """Writes a shard and its record, unless they are there; yields counts of photographs as they are done.

    Raises:
        InputError: a photograph cannot be read, and such are not to be left out; or the shard cannot be written. Then
            nothing of it is left behind.
    """
    path = prepared.data / shard.file_name(prepared.name)
    record_path = _record_path(prepared, shard)
    if _is_finished(shard, path, record_path):
        yield len(shard.indices)
        return
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    photos = prepared.splits[shard.split]
    serializer = ExampleSerializer(features(prepared.classes, prepared.recoding.encoding).get_serialized_info())
    measurements = Measurements()
    sizes: list[int] = []
    changed: dict[str, list[str]] = {}
    unreadable: dict[str, str] = {}
    with atomic_write(path, remedy=GO_ON) as temporary:
        with _writer(temporary) as writer:
            for index, name in zip(map(int, shard.indices), shard.names, strict=True):
                yield 1
                data, label = photos.read(index)
                try:
                    recoded = recode(data, prepared.recoding)
                except UnreadableImageError as error:
                    if not prepared.skip_unreadable:
                        raise InputError(
                            f"{photos.where(index)} cannot be read: {error}; replace it, or pass --skip_unreadable to "
                            "leave out what cannot be read"
                        ) from None
                    unreadable[name] = str(error)
                    continue
                example = serializer.get_tf_example({"image": recoded.data, "label": label, "file_name": name.encode()})
                # Left to itself, the order of the fields is another in every process.
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
    record = Record(path.name, size, sha256, shard.sizes_sha256, len(sizes), sum(sizes), changed, unreadable)
    _save_record(record_path, record, measurements)


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[Any]:
    """An array_record writer; a disk that is full is an OSError."""
    try:
        writer = array_record_module.ArrayRecordWriter(os.fspath(path), _WRITER_OPTIONS)
        try:
            yield writer
        finally:
            writer.close()
    except RuntimeError as error:  # the writer's only kind, "write() failed: No space left on device; writing FILE"
        raise OSError(str(error).partition(";")[0]) from None


def _record_path(prepared: Set, shard: Shard) -> Path:
    return prepared.folder / "records" / f"{shard.split}-{shard.number:05}.npz"


def _is_finished(shard: Shard, path: Path, record_path: Path) -> bool:
    """Whether a shard is there, as its record says, and no photograph in it was replaced since."""
    try:
        record, _ = _load_record(record_path)
        with path.open("rb") as file:
            found = (record.sizes_sha256, record.sha256)
            return found == (shard.sizes_sha256, hashlib.file_digest(file, "sha256").hexdigest())
    # No such file, or one that a power failure left without its content.
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return False


def _save_record(path: Path, record: Record, measurements: Measurements) -> None:
    arrays: dict[str, Any] = {"record": np.array(json.dumps(asdict(record))), **measurements.to_arrays()}
    with atomic_write(path, remedy=GO_ON) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _load_record(path: Path) -> tuple[Record, Measurements]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Record(**json.loads(str(arrays["record"]))), Measurements.from_arrays(arrays)


def count_records(prepared: Set) -> int:
    """How many shards are finished."""
    return len(list((prepared.folder / "records").glob("[!.]*.npz")))


def load_records(prepared: Set, shards: Sequence[Shard]) -> tuple[list[Record], Measurements]:
    """The records of finished shards, and what was measured on all of them."""
    records = []
    total = Measurements()
    for shard in shards:
        record, measurements = _load_record(_record_path(prepared, shard))
        records.append(record)
        if shard.split == _MEASURED:
            total.merge(measurements)
    return records, total


def write_metadata(prepared: Set, version: str, records: Mapping[str, Sequence[Record]]) -> None:
    """Writes what TFDS needs beside the shards: dataset_info.json, features.json, label.labels.txt."""
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
                shard_lengths=[record.records for record in of_split],
                num_bytes=sum(record.payload for record in of_split),
                filename_template=template.replace(split=split),
            )
            for split, of_split in records.items()
        ],
        filename_template=template,
        version=version,
        supervised_keys=("image", "label"),
        check_data=False,
    )
