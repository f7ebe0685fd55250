import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from array_record.python import array_record_module
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet.data.prepare import shards
from resnet_alexnet.data.prepare.archive import ArchivePhotos, to_photos
from resnet_alexnet.data.prepare.recode import Recoding
from resnet_alexnet.data.prepare.shards import (
    Set,
    Shard,
    count_finished,
    create_shards,
    load_infos,
    shuffled,
    write_shard,
)
from resnet_alexnet.errors import InputError
from tests.support.archives import encode_kind, tar
from tests.support.images import photograph

NAMES = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), unique=True, max_size=30)


@given(NAMES, st.randoms(use_true_random=False))
def test_the_order_depends_on_the_names_alone(names, random):
    order = [names[index] for index in shuffled(names)]
    assert sorted(order) == sorted(names)
    random.shuffle(names)
    assert [names[index] for index in shuffled(names)] == order


def test_any_stretch_of_the_order_is_a_random_sample():
    names = [f"n{label:08}_{number}.JPEG" for label in range(20) for number in range(500)]
    labels = shuffled(names)[:9000] // 500
    counts = np.bincount(labels, minlength=20)
    # 450 expected of each; a random draw is within four standard deviations, sqrt(500 * 0.9 * 0.1) = 6.7.
    assert np.abs(counts - 450).max() < 27


@given(st.integers(1, 60), st.integers(1, 70))
def test_shards_hold_every_photograph_once_and_are_of_one_size(num_photos, photos_per_shard):
    names = [str(number) for number in range(num_photos)]
    parts = create_shards("train", names, np.arange(num_photos), photos_per_shard=photos_per_shard)
    assert sorted(index for shard in parts for index in shard.indices) == list(range(num_photos))
    assert [name for shard in parts for name in shard.names] == [names[index] for index in shuffled(names)]
    sizes = [len(shard.indices) for shard in parts]
    assert max(sizes) <= photos_per_shard
    assert max(sizes) - min(sizes) <= 1
    assert [(shard.number, shard.count) for shard in parts] == [(n, len(parts)) for n in range(len(parts))]


KINDS = ("RGB", "gray", "CMYK", "RGB", "PNG", "RGB", "RGB")


def make_set(folder: Path, kinds=KINDS, **options) -> tuple[Set, list[Shard]]:
    """A set of one split in two shards, each photograph of another kind, and the folders that it needs."""
    files = {
        f"{number}.JPEG": encode_kind(photograph(270, 300, seed=number), kind) for number, kind in enumerate(kinds)
    }
    (folder / "photos.tar").write_bytes(tar(files))
    return as_set(folder, files, **options)


def as_set(folder: Path, files: dict[str, bytes], **options) -> tuple[Set, list[Shard]]:
    entries, offset = [], 0
    for number, (name, data) in enumerate(files.items()):
        entries.append((name, "cat" if number % 2 else "dog", offset + 512, len(data)))
        offset += 512 + -(-len(data) // 512) * 512
    photos = to_photos(str(folder / "photos.tar"), entries, ("cat", "dog"))
    prepared = Set(folder, "pets", {"train": photos}, options.pop("recoding", Recoding()), **options)
    for name in ("data", "finished"):
        (folder / name).mkdir()
    return prepared, create_shards("train", list(files), photos.sizes, photos_per_shard=4)


def write(prepared: Set, parts: list[Shard]) -> int:
    return sum(count for shard in parts for count in write_shard(prepared, shard))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_shard_holds_its_photographs_in_order(tmp_path):
    prepared, parts = make_set(tmp_path)
    assert write(prepared, parts) == len(KINDS)
    photos = prepared.splits["train"]
    features = shards.features(("cat", "dog"), "jpeg")
    for shard in parts:
        path = prepared.data / f"pets-train.array_record-{shard.number:05}-of-00002"
        reader = array_record_module.ArrayRecordReader(str(path))
        assert reader.num_records() == len(shard.indices)
        for record, index in zip(reader.read_all(), shard.indices, strict=True):
            example = features.deserialize_example_np(record)
            data, label = photos.read(index)
            assert example["label"] == label
            assert example["file_name"].decode() == f"{index}.JPEG"
            assert (data in record) == (KINDS[index] == "RGB")
            assert example["image"].shape == (270, 300, 3)
        reader.close()


def test_the_info_describes_the_contents_of_a_shard(tmp_path):
    prepared, parts = make_set(tmp_path)
    write(prepared, parts)
    infos, measurements = load_infos(prepared, parts)
    assert count_finished(prepared) == 2
    assert [info.records for info in infos] == [4, 3]
    changed = {reason: names for info in infos for reason, names in info.changed.items()}
    assert changed == {"gray": ["1.JPEG"], "CMYK": ["2.JPEG"], "PNG": ["4.JPEG"]}
    assert measurements.squares.count == len(KINDS)
    for info in infos:
        assert info.bytes == (prepared.data / info.file).stat().st_size > info.payload


def test_a_finished_shard_is_not_written_again(tmp_path):
    prepared, parts = make_set(tmp_path)
    write(prepared, parts)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    (tmp_path / "photos.tar").write_bytes(b"")
    assert list(write_shard(prepared, parts[0])) == [4]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} | {
        tmp_path / "photos.tar": before[tmp_path / "photos.tar"]
    } == before


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "no info", "damaged info", "empty info"])
def test_a_shard_that_does_not_match_its_info_is_written_again(tmp_path, damage):
    prepared, parts = make_set(tmp_path)
    write(prepared, parts)
    before = content(tmp_path)
    shard, info = prepared.data / parts[0].file_name("pets"), tmp_path / "finished" / "train-00000.npz"
    match damage:
        case "flipped":
            data = bytearray(shard.read_bytes())
            data[1000] ^= 1
            shard.write_bytes(data)
        case "cut":
            shard.write_bytes(shard.read_bytes()[:-1])
        case "missing":
            shard.unlink()
        case "no info":
            info.unlink()
        case "damaged info":
            info.write_bytes(info.read_bytes()[:-500])
        case "empty info":
            info.write_bytes(b"")
    assert len(list(write_shard(prepared, parts[0]))) > 1
    assert content(tmp_path) == before


def test_an_unreadable_photograph_stops_with_its_name_and_leaves_nothing(tmp_path):
    prepared, parts = make_set(tmp_path, kinds=("RGB", "RGB", "truncated", "RGB"))
    with pytest.raises(InputError, match=rf"^{tmp_path}/photos.tar: 2.JPEG cannot be read: .*--skip_unreadable"):
        write(prepared, parts)
    assert content(tmp_path).keys() == {"photos.tar"}


def test_unreadable_photographs_are_left_out_and_recorded(tmp_path):
    prepared, parts = make_set(tmp_path, kinds=("RGB", "truncated", "RGB", "RGB", "truncated"), skip_unreadable=True)
    assert write(prepared, parts) == 5
    infos, measurements = load_infos(prepared, parts)
    unreadable = {name: reason for info in infos for name, reason in info.unreadable.items()}
    assert unreadable.keys() == {"1.JPEG", "4.JPEG"}
    assert all("truncated" in reason for reason in unreadable.values())
    assert sum(info.records for info in infos) == measurements.squares.count == 3


def test_only_training_photographs_are_measured(tmp_path):
    prepared, parts = make_set(tmp_path)
    prepared = dataclasses.replace(prepared, splits={"validation": prepared.splits["train"]})
    parts = [dataclasses.replace(shard, split="validation") for shard in parts]
    write(prepared, parts)
    assert load_infos(prepared, parts)[1].squares.count == 0


@pytest.mark.parametrize("moment", ["shard", "info"])
def test_a_full_disk_is_told_in_a_line_and_leaves_nothing_half_written(tmp_path, monkeypatch, moment):
    prepared, parts = make_set(tmp_path)
    if moment == "shard":

        class FullDisk:
            def __init__(self, path: str, options: str) -> None:
                Path(path).write_bytes(b"as far as it went")

            def write(self, data: bytes) -> None: ...

            def close(self) -> None:  # the real one, on a disk without room
                raise RuntimeError("write() failed: No space left on device; writing x; at byte 9; Failed to close")

        monkeypatch.setattr(array_record_module, "ArrayRecordWriter", FullDisk)
    else:

        def savez(file: io.BufferedWriter, **arrays) -> None:
            file.write(b"as far as it went")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez", savez)
    file = "pets-train.array_record-00000-of-00002" if moment == "shard" else "train-00000.npz"
    with pytest.raises(InputError, match=rf"{file} cannot be written \(.*No space left on device\): free disk space"):
        write(prepared, parts)
    left = content(tmp_path).keys() - {"photos.tar"}
    assert left == (set() if moment == "shard" else {f"data/{parts[0].file_name('pets')}"})
    monkeypatch.undo()
    assert write(prepared, parts) == len(KINDS)
    assert count_finished(prepared) == 2


def test_archive_photographs_are_plain_data(tmp_path):
    photos = make_set(tmp_path)[0].splits["train"]
    assert isinstance(photos, ArchivePhotos)
    assert photos.channels == 3
