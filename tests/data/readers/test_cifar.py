import dataclasses
import os
import pickle
import pickletools
import subprocess
import sys

import numpy as np
import pytest

from resnet_alexnet.data.readers import cifar
from resnet_alexnet.data.sources import create_splits
from resnet_alexnet.errors import InputError
from tests.support.published_sets import CIFAR_TEST_FILES, CIFAR_TRAIN_FILES, pack, pickle_cifar, write_cifar

RECORDS = 4
READERS = {"cifar10": cifar.read_cifar10, "cifar100": cifar.read_cifar100}
FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}
ARCHIVES = {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}
PICKLED_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
NUM_CLASSES = {"cifar10": 10, "cifar100": 100}
both = pytest.mark.parametrize("name", READERS)


@pytest.fixture(autouse=True)
def few_records(monkeypatch):
    for name in ("CIFAR10", "CIFAR100"):
        smaller = []
        for published in getattr(cifar, name):
            files = {split: dict.fromkeys(getattr(published, split), RECORDS) for split in ("train", "test")}
            smaller.append(dataclasses.replace(published, **files))
        monkeypatch.setattr(cifar, name, tuple(smaller))


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
    for archives, row_bytes in ((cifar.CIFAR10, 3073), (cifar.CIFAR100, 3074)):
        for archive in archives:
            assert (sum(archive.train.values()), sum(archive.test.values())) == (50_000, 10_000)
            assert archive.row_bytes == row_bytes
    assert [list(archive.test) for archive in cifar.CIFAR10] == [["test_batch.bin"], ["test_batch"]]
    assert [list(archive.test) for archive in cifar.CIFAR100] == [["test.bin"], ["test"]]


@both
def test_data_dir_must_be_given_and_right(tmp_path, name):
    pickled = ARCHIVES[name].replace("binary", "python"), PICKLED_FOLDERS[name]
    remedy = (
        f"data_dir must be {ARCHIVES[name]} (extracted: {FOLDERS[name]}) or {pickled[0]} (extracted: {pickled[1]}), or"
    )
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


# The Python version


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@both
def test_the_pickled_version_has_the_same_images_and_labels_as_the_binary_one(tmp_path, name, protocol):
    binary, pickled = tmp_path / FOLDERS[name], tmp_path / "pickled" / PICKLED_FOLDERS[name]
    pickled.parent.mkdir()
    written = write_cifar(binary, name, RECORDS)
    pickle_cifar(binary, pickled, name, written, protocol=protocol)
    expected = READERS[name](binary)
    for data_dir in (pickled, pickled.parent):
        for one, other in zip(READERS[name](data_dir)[:2], expected[:2], strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
        assert READERS[name](data_dir)[2] == expected[2]


@both
def test_the_pickled_version_is_read_from_its_archive(tmp_path, name):
    folder = tmp_path / "inside" / PICKLED_FOLDERS[name]
    folder.parent.mkdir()
    written = write_cifar(tmp_path / "binary", name, RECORDS)
    pickle_cifar(tmp_path / "binary", folder, name, written)
    archive = tmp_path / "packed" / ARCHIVES[name].replace("binary", "python")
    archive.parent.mkdir()
    pack(folder, archive)
    renamed = tmp_path / "cifar.tgz"
    renamed.write_bytes(archive.read_bytes())
    for data_dir in (archive, archive.parent, renamed):
        check(name, data_dir, written)


def test_a_pickle_of_python_2_is_read(tmp_path, monkeypatch):
    """As numpy 1 of Python 2 wrote it: text is bytes, and the old name of numpy's module."""
    rows = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    content = pickle.dumps({"data": rows}, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    text = pickletools.genops(content)
    assert any(name.name == "BINUNICODE" for name, *_ in text)
    found = cifar.plain_pickle.load(content)
    np.testing.assert_array_equal(found["data"], rows)
    old = (
        b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x01K\x07eU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\nq\x05"
        b"cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07(K\x01K\x01K\x03\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq"
        b"\x09(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03abctbu."
    )
    values = cifar.plain_pickle.load(old)
    assert values[b"labels"] == [1, 7]
    np.testing.assert_array_equal(values[b"data"], [list(b"abc")])


class Evil:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_that_a_pickle_names_runs(tmp_path, protocol):
    folder = tmp_path / PICKLED_FOLDERS["cifar10"]
    written = write_cifar(tmp_path / "binary", "cifar10", RECORDS)
    pickle_cifar(tmp_path / "binary", folder, "cifar10", written)
    (folder / "data_batch_3").write_bytes(pickle.dumps({b"data": Evil(tmp_path / "ran")}, protocol=protocol))
    message = refusal("cifar10", folder)
    assert f"{folder / 'data_batch_3'} cannot be read (it names posix.mkdir, which is not loaded)" in message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({b"labels": [0] * 4}, "cannot be read (no 'data'"),
        ({b"data": np.zeros((4, 3072), np.uint8)}, "cannot be read (no 'labels'"),
        ({b"data": np.zeros((4, 3071), np.uint8), b"labels": [0] * 4}, "has 4 images of 3,071 bytes, not 4 of 3,072"),
        ({b"data": np.zeros((3, 3072), np.uint8), b"labels": [0] * 3}, "has 3 images of 3,072 bytes, not 4 of 3,072"),
        ({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0] * 5}, "is not as published"),
        ({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, -1]}, "the label of image 3 is 255"),
        ({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, 10**30]}, "the label of image 3 is 255"),
        ({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, "x"]}, "is not as published"),
        ({b"data": np.zeros((4, 3072), np.int64), b"labels": [0] * 4}, "an array that is not of bytes"),
        (
            {b"data": np.asfortranarray(np.zeros((4, 3072), np.uint8)), b"labels": [0] * 4},
            "an array that is not of bytes",
        ),
        ({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, [3]]}, "neither plain, an array nor a list"),
        ({b"data": np.zeros((4, 3072), np.uint8), (b"labels",): [0] * 4}, "a key that is not text"),
        ([1, 2], "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path, values, message):
    folder = tmp_path / PICKLED_FOLDERS["cifar10"]
    written = write_cifar(tmp_path / "binary", "cifar10", RECORDS)
    pickle_cifar(tmp_path / "binary", folder, "cifar10", written)
    (folder / "test_batch").write_bytes(pickle.dumps(values, protocol=2))
    found = refusal("cifar10", folder)
    assert f"{folder / 'test_batch'} " in found
    assert message in found
    (folder / "test_batch").write_bytes(b"\x80\x02garbage")
    assert f"{folder / 'test_batch'} cannot be read" in refusal("cifar10", folder)


def test_equal_class_names_are_refused(tmp_path):
    folder = tmp_path / FOLDERS["cifar10"]
    write_cifar(folder, "cifar10", RECORDS)
    (folder / "batches.meta.txt").write_text("cat\n" * 10)
    with pytest.raises(InputError, match="cifar10 train has 10 classes called 'cat'"):
        create_splits("cifar10", data_dir=str(folder))


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x80\x02}N" + b"\x85" * 400_000 + b"Ns.",  # a key of nested tuples: to hash it would end the process
        b"\x80\x02}(N" + b"\x85" * 400_000 + b"Nu.",
        b"(N" + b"\x85" * 400_000 + b"Nd.",
        b"}(" + b"N" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(60)) + b"Nu.",  # 2**60 equal parts
        b"\x80\x04\x8f(N" + b"\x85" * 400_000 + b"\x90.",  # a set
        b"\x80\x05\x96" + (2**33).to_bytes(8, "little") + b".",  # longer than the file
        b"\x80\x02}(U\x06labelsN" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(60)) + b"u.",
        b"\x80\x02Nr\xff\xff\xff\x0f.",  # place 2**28 of the memo
    ],
)
def test_a_hostile_pickle_is_refused_at_once(hostile):
    """In a process of its own, with little memory: it may end the process, or take all memory."""
    code = (
        "import resource, sys; from resnet_alexnet.data.readers import plain_pickle\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "try: plain_pickle.load(sys.stdin.buffer.read())\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=hostile, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (b"UnpicklingError", b"EOFError", b"ValueError", b"IndexError")
