import dataclasses

import numpy as np
import pytest

from resnet_alexnet.data.readers import cifar
from resnet_alexnet.errors import InputError
from tests.support.published_sets import CIFAR_TEST_FILES, CIFAR_TRAIN_FILES, pack, write_cifar

RECORDS = 4
READERS = {"cifar10": cifar.read_cifar10, "cifar100": cifar.read_cifar100}
FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}
ARCHIVES = {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}
NUM_CLASSES = {"cifar10": 10, "cifar100": 100}
both = pytest.mark.parametrize("name", READERS)


@pytest.fixture(autouse=True)
def few_records(monkeypatch):
    for archive in ("CIFAR10", "CIFAR100"):
        published = getattr(cifar, archive)
        files = {split: dict.fromkeys(getattr(published, split), RECORDS) for split in ("train", "test")}
        monkeypatch.setattr(cifar, archive, dataclasses.replace(published, **files))


def refusal(name, data_dir):
    with pytest.raises(InputError) as error:
        READERS[name](data_dir)
    assert "\n" not in str(error.value)
    return str(error.value)


def check(name, data_dir, written):
    train, test, classes = READERS[name](data_dir)
    for (images, labels), files in ((train, CIFAR_TRAIN_FILES), (test, CIFAR_TEST_FILES)):
        np.testing.assert_array_equal(images, np.concatenate([written[file][0] for file in files[name]]))
        np.testing.assert_array_equal(labels, np.concatenate([written[file][1] for file in files[name]]))
        assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    return classes


@both
def test_the_extracted_archive_is_read(tmp_path, name):
    folder = tmp_path / FOLDERS[name]
    written = write_cifar(folder, name, RECORDS)
    for data_dir in (tmp_path, folder, str(folder)):
        classes = check(name, data_dir, written)
        if name == "cifar10":
            assert classes[:4] == ("airplane", "automobile", "bird", "cat")
        else:
            assert classes == tuple(f"fine_{label}" for label in range(100))


@both
def test_the_archive_is_read_as_it_was_downloaded(tmp_path, name):
    folder = tmp_path / "inside" / FOLDERS[name]
    folder.parent.mkdir()
    written = write_cifar(folder, name, RECORDS)
    pack(folder, tmp_path / ARCHIVES[name])
    before = sorted(tmp_path.rglob("*"))
    for data_dir in (tmp_path, tmp_path / ARCHIVES[name]):
        check(name, data_dir, written)
    assert sorted(tmp_path.rglob("*")) == before


def test_sizes_are_those_of_the_published_archives(monkeypatch):
    monkeypatch.undo()
    sizes = {name: sum(archive.train.values()) for name, archive in (("10", cifar.CIFAR10), ("100", cifar.CIFAR100))}
    assert sizes == {"10": 50_000, "100": 50_000}
    assert (cifar.CIFAR10.row_bytes, cifar.CIFAR100.row_bytes) == (3073, 3074)
    assert cifar.CIFAR10.test == {"test_batch.bin": 10_000}
    assert cifar.CIFAR100.test == {"test.bin": 10_000}


@both
def test_data_dir_must_be_given_and_right(tmp_path, name):
    remedy = f"data_dir must be {ARCHIVES[name]}, the extracted folder {FOLDERS[name]}, or a folder that contains"
    assert f"{name} needs data_dir: {remedy}" in refusal(name, "")
    message = refusal(name, tmp_path)
    assert f"cannot be read (No such file or directory): {remedy}" in message
    assert str(tmp_path) in message


@both
def test_missing_and_cut_files_are_named(tmp_path, name):
    folder = tmp_path / FOLDERS[name]
    write_cifar(folder, name, RECORDS)
    file = folder / CIFAR_TRAIN_FILES[name][-1]
    size = RECORDS * {"cifar10": 3073, "cifar100": 3074}[name]
    file.write_bytes(file.read_bytes()[:-5])
    assert f"{file} has {size - 5:,} bytes, not {size:,}: extract or download {ARCHIVES[name]} again" in refusal(
        name, tmp_path
    )
    file.unlink()
    assert f"{file} cannot be read (No such file or directory): data_dir must be" in refusal(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("cifar10", 0, 10, "the label of image 1 is 10 (allowed: 0 to 9)"),
        ("cifar100", 0, 20, "the coarse label of image 1 is 20 (allowed: 0 to 19)"),
        ("cifar100", 1, 100, "the fine label of image 1 is 100 (allowed: 0 to 99)"),
    ],
)
def test_a_label_out_of_range_is_named(tmp_path, name, column, value, message):
    folder = tmp_path / FOLDERS[name]
    write_cifar(folder, name, RECORDS)
    file = folder / CIFAR_TRAIN_FILES[name][-1]
    data = bytearray(file.read_bytes())
    data[len(data) // RECORDS + column] = value
    file.write_bytes(data)
    assert f"{file} is damaged: {message}; extract or download" in refusal(name, tmp_path)


@pytest.mark.parametrize(("name", "file"), [("cifar10", "batches.meta.txt"), ("cifar100", "fine_label_names.txt")])
def test_class_names_are_counted(tmp_path, name, file):
    folder = tmp_path / FOLDERS[name]
    write_cifar(folder, name, RECORDS)
    (folder / file).write_text("one\ntwo\n")
    assert f"{folder / file} has 2 class names, not {NUM_CLASSES[name]}" in refusal(name, tmp_path)


@pytest.mark.parametrize(
    "damage", ["cut", "no end", "not gzip", "bits", "checksum", "empty", "another archive", "a cut file inside"]
)
def test_a_damaged_archive_is_named(tmp_path, damage):
    folder = tmp_path / "inside" / FOLDERS["cifar10"]
    folder.parent.mkdir()
    write_cifar(folder, "cifar10", RECORDS)
    path = tmp_path / ARCHIVES["cifar10"]
    if damage == "a cut file inside":
        (folder / "data_batch_2.bin").write_bytes(b"123")
    if damage == "another archive":
        (folder / "data_batch_2.bin").unlink()
    pack(folder, path)
    data = path.read_bytes()
    middle, end = len(data) // 2, len(data) - 8
    changed = {
        "cut": data[:middle],
        "no end": data[:end],
        "not gzip": b"<html>not found</html>" * 100,
        "bits": data[:5_000] + b"\xff" * 40_000 + data[45_000:],
        "checksum": data[:end] + bytes(4) + data[end + 4 :],
        "empty": b"",
    }
    path.write_bytes(changed.get(damage, data))
    inside = f"{path}/cifar-10-batches-bin/data_batch_2.bin"
    expected = {
        "another archive": f"{path} is not the published archive: it lacks cifar-10-batches-bin/data_batch_2.bin",
        "a cut file inside": f"{inside} has 3 bytes, not 12,292",
    }
    assert expected.get(damage, f"{path} cannot be unpacked (") in refusal("cifar10", tmp_path)
