import gzip
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet.data import cifar, fashion_mnist
from resnet_alexnet.data.idx import read_idx
from resnet_alexnet.data.sources import ArraySource, create_splits, hold_out, select_classes
from resnet_alexnet.errors import InputError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
needs_debian = pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")


def make_source(labels, num_classes=3):
    labels = np.asarray(labels, np.int32)
    images = np.zeros((len(labels), 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels)) % 256  # so that an image tells its index
    return ArraySource(images, labels, tuple("abcdefghij"[:num_classes]))


def idx_bytes(array):
    """An IDX file written out by the format's description, byte by byte."""
    header = bytes([0, 0, 8, array.ndim])
    return header + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def write_fashion_mnist(folder, num_train=20, num_test=10, suffix=""):
    rng = np.random.default_rng(0)
    written = {}
    for prefix, count in (("train", num_train), ("t10k", num_test)):
        images = rng.integers(256, size=(count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx_bytes(array)
            (folder / f"{prefix}-{name}-ubyte{suffix}").write_bytes(gzip.compress(data) if suffix else data)
        written[prefix] = images, labels
    return written


# The embedded sample


def test_sample_has_the_stated_counts_and_is_balanced():
    splits = create_splits("fashion_mnist", validation_fraction=0)
    assert splits.validation is None
    assert splits.train.images.shape == (5000, 28, 28, 1)
    assert splits.test.images.shape == (1000, 28, 28, 1)
    assert np.bincount(splits.train.labels).tolist() == [500] * 10
    assert np.bincount(splits.test.labels).tolist() == [100] * 10
    assert len(np.unique(splits.train.images.reshape(5000, -1), axis=0)) > 4990


def test_sample_is_held_out_4500_500():
    splits = create_splits("fashion_mnist")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4500, 500, 1000)
    assert np.bincount(splits.validation.labels).tolist() == [50] * 10


def test_sample_is_small_and_carries_its_licence():
    folder = resources.files("resnet_alexnet.data")
    assert len(folder.joinpath("fashion_mnist_sample.npz").read_bytes()) <= 3_000_000
    notice = folder.joinpath("fashion_mnist_sample.LICENSE").read_text()
    assert "Zalando SE" in notice
    assert "Permission is hereby granted, free of charge" in notice


def test_sample_loads_quickly():
    start = time.perf_counter()
    fashion_mnist.read_sample()
    assert time.perf_counter() - start < 2


@needs_debian
def test_sample_is_the_first_of_each_class_of_the_published_files():
    with gzip.open(DEBIAN / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(DEBIAN / "train-labels-idx1-ubyte.gz") as file:
        labels = file.read()[8:]
    seen, chosen = [0] * 10, []
    for index, label in enumerate(labels):
        if seen[label] < 500:
            seen[label] += 1
            chosen.append(index)
    (sample_images, sample_labels), _ = fashion_mnist.read_sample()
    np.testing.assert_array_equal(sample_images[..., 0], images[chosen])
    assert sample_labels.tolist() == [labels[index] for index in chosen]


@needs_debian
def test_sample_is_made_again_to_the_same_arrays(tmp_path):
    fashion_mnist.make_sample(DEBIAN, tmp_path / "sample.npz")
    embedded = resources.files("resnet_alexnet.data").joinpath("fashion_mnist_sample.npz")
    with embedded.open("rb") as file, np.load(file) as ours, np.load(tmp_path / "sample.npz") as again:
        assert sorted(ours) == sorted(again)
        for key in ours:
            np.testing.assert_array_equal(ours[key], again[key])


# Fashion-MNIST's own files


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_full_fashion_mnist_reads_idx_files(tmp_path, suffix):
    written = write_fashion_mnist(tmp_path, suffix=suffix)
    splits = create_splits("fashion_mnist", data_dir=str(tmp_path), validation_fraction=0)
    for source, prefix in ((splits.train, "train"), (splits.test, "t10k")):
        images, labels = written[prefix]
        np.testing.assert_array_equal(source.images[..., 0], images)
        np.testing.assert_array_equal(source.labels, labels)


def test_missing_idx_file_is_named(tmp_path):
    write_fashion_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\[.gz\] is missing.*four IDX files"):
        create_splits("fashion_mnist", data_dir=str(tmp_path))


def test_images_and_labels_of_different_counts_are_refused(tmp_path):
    write_fashion_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(19, np.uint8)))
    with pytest.raises(InputError, match=r"holds 20 images but .*train-labels-idx1-ubyte 19 labels"):
        create_splits("fashion_mnist", data_dir=str(tmp_path))


def test_images_of_another_size_are_refused(tmp_path):
    write_fashion_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((20, 32, 32), np.uint8)))
    with pytest.raises(InputError, match="32x32 pixels; Fashion-MNIST's are 28x28"):
        create_splits("fashion_mnist", data_dir=str(tmp_path))


@pytest.mark.parametrize("change", ["truncated", "long", "header", "empty", "magic", "labels", "gzip"])
def test_damaged_idx_file_is_refused_with_its_name(tmp_path, change):
    data = idx_bytes(np.ones((3, 4, 5), np.uint8))
    damaged, message = {
        "truncated": (data[:-1], "cut off"),
        "long": (data + b"\0", "longer than it should be"),
        "header": (data[:10], "cut off inside its header"),
        "empty": (b"", "not an IDX file"),
        "magic": (b"\0\0\x0d\x03" + data[4:], "begins with 0x00000d03"),
        "labels": (idx_bytes(np.ones(3, np.uint8)), "not an IDX file of 3-dimensional bytes"),
        "gzip": (gzip.compress(data)[:-9], "damaged gzip"),
    }[change]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=message) as error:
        read_idx(path, ndim=3)
    assert str(path) in str(error.value)


# CIFAR-10


def write_cifar10(folder, records):
    folder.mkdir()
    rng = np.random.default_rng(0)
    written = {}
    for name in (*cifar.TRAIN_FILES, *cifar.TEST_FILES):
        images = rng.integers(256, size=(records, 32, 32, 3), dtype=np.uint8)
        labels = rng.integers(10, size=records)
        with (folder / name).open("wb") as file:
            for image, label in zip(images, labels, strict=True):
                planes = [image[:, :, channel].tobytes() for channel in range(3)]
                file.write(bytes([label]) + b"".join(planes))
        written[name] = images, labels
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta.txt").write_text("\n".join(names) + "\n\n")  # the archive's ends with an empty line
    return written


@pytest.mark.parametrize("data_dir", [".", "cifar-10-batches-bin"])
def test_cifar10_reads_the_binary_archive(tmp_path, monkeypatch, data_dir):
    monkeypatch.setattr(cifar, "RECORDS_PER_FILE", 20)
    written = write_cifar10(tmp_path / "cifar-10-batches-bin", records=20)
    splits = create_splits("cifar10", data_dir=str(tmp_path / data_dir), validation_fraction=0)
    assert splits.train.classes[:4] == ("airplane", "automobile", "bird", "cat")
    for source, files in ((splits.train, cifar.TRAIN_FILES), (splits.test, cifar.TEST_FILES)):
        np.testing.assert_array_equal(source.images, np.concatenate([written[name][0] for name in files]))
        np.testing.assert_array_equal(source.labels, np.concatenate([written[name][1] for name in files]))


def test_cifar10_record_has_the_published_size():
    assert (cifar.RECORD_BYTES, cifar.RECORDS_PER_FILE) == (3073, 10_000)


def test_cifar10_errors_name_file_and_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "RECORDS_PER_FILE", 4)
    folder = tmp_path / "cifar-10-batches-bin"
    with pytest.raises(InputError, match=r"needs data_dir.*cifar-10-batches-bin"):
        create_splits("cifar10")
    with pytest.raises(InputError, match=r"batches.meta.txt cannot be read .*must be the folder"):
        create_splits("cifar10", data_dir=str(tmp_path))
    write_cifar10(folder, records=4)
    batch = folder / "data_batch_3.bin"
    batch.write_bytes(batch.read_bytes()[:-3073])
    with pytest.raises(InputError, match=r"data_batch_3.bin has 9,219 bytes, not 12,292"):
        create_splits("cifar10", data_dir=str(folder))
    batch.unlink()
    with pytest.raises(InputError, match=r"data_batch_3.bin cannot be read"):
        create_splits("cifar10", data_dir=str(folder))


def test_label_out_of_range_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "RECORDS_PER_FILE", 4)
    folder = tmp_path / "cifar-10-batches-bin"
    write_cifar10(folder, records=4)
    data = bytearray((folder / "data_batch_2.bin").read_bytes())
    data[3073] = 10
    (folder / "data_batch_2.bin").write_bytes(data)
    with pytest.raises(InputError, match="cifar10 train: the label of example 5 is 10; allowed are 0 to 9"):
        create_splits("cifar10", data_dir=str(folder))


# Synthetic


def test_synthetic_has_the_sizes_asked_for_and_is_deterministic():
    options = {"image_size": 9, "channels": 2, "num_classes": 5, "num_examples": 50}
    splits, again = create_splits("synthetic", **options), create_splits("synthetic", **options)
    assert splits.train.images.shape == (45, 9, 9, 2)
    assert (len(splits.validation), len(splits.test)) == (5, 10)
    assert len(splits.train.classes) == 5
    for one, other in zip(vars(splits).values(), vars(again).values(), strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_synthetic_dry_run_of_many_classes_needs_few_images():
    splits = create_splits("synthetic", image_size=8, num_classes=1000, num_examples=100)
    assert (len(splits.train), len(splits.validation), len(splits.train.classes)) == (90, 10, 1000)


def test_synthetic_can_be_learnt_by_nearest_class_mean():
    splits = create_splits("synthetic", image_size=16, num_examples=400)
    train = splits.train.images.reshape(len(splits.train), -1).astype(float)
    test = splits.test.images.reshape(len(splits.test), -1).astype(float)
    means = np.stack([train[splits.train.labels == label].mean(0) for label in range(10)])
    predicted = ((test[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (predicted == splits.test.labels).mean() > 0.99


def test_synthetic_splits_share_no_image():
    splits = create_splits("synthetic", image_size=8, num_examples=60)
    images = np.concatenate([source.images.reshape(len(source), -1) for source in vars(splits).values()])
    assert len(np.unique(images, axis=0)) == len(images)


# Options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fashion_minst", {}, "did you mean 'fashion_mnist'"),
        ("imagenet2012", {}, "not there yet; dataset.name=synthetic gives a dry run"),
        ("fashion_mnist", {"image_size": 32}, "image_size=32: fashion_mnist has 28"),
        ("fashion_mnist", {"channels": 3}, "channels=3: fashion_mnist has 1"),
        ("fashion_mnist", {"num_classes": 5}, "num_classes=5: fashion_mnist has 10"),
        ("fashion_mnist", {"num_examples": 100}, "num_examples=100: fashion_mnist has 5000"),
        ("fashion_mnist", {"data_dir": "nowhere"}, "nowhere.*is missing"),
        ("fashion_mnist", {"validation_fraction": 1}, "validation_fraction=1: allowed"),
        ("fashion_mnist", {"validation_fraction": -0.1}, "validation_fraction=-0.1: allowed"),
        ("fashion_mnist", {"validation_fraction": float("nan")}, "validation_fraction=nan: allowed"),
        ("fashion_mnist", {"validation_fraction": 0.001}, "holds out no example of fashion_mnist train.*has 500"),
        ("synthetic", {"data_dir": "somewhere"}, "data_dir='somewhere': synthetic data is made"),
        ("synthetic", {"image_size": 0}, "image_size=0"),
        ("synthetic", {"num_classes": -1}, "num_classes=-1"),
        ("synthetic", {"num_examples": 5}, "num_examples=0 for the validation split"),
    ],
)
def test_bad_options_are_one_clear_line(name, options, message):
    with pytest.raises(InputError, match=message) as error:
        create_splits(name, **options)
    assert "\n" not in str(error.value)


def test_options_equal_to_the_data_are_accepted():
    splits = create_splits("fashion_mnist", image_size=28, channels=1, num_classes=10, num_examples=5000)
    assert splits.train.image_shape == (28, 28, 1)


# Hold-out and classes


@given(
    labels=st.lists(st.integers(0, 2), min_size=10, max_size=60),
    percent=st.integers(0, 99),
)
def test_hold_out_takes_the_last_of_each_class(labels, percent):
    source = make_source(labels)
    counts = [labels.count(label) for label in range(3)]
    expected, left = [], [count * percent // 100 for count in counts]
    for index in reversed(range(len(labels))):
        if left[labels[index]]:
            left[labels[index]] -= 1
            expected.insert(0, index)
    if percent and not expected:
        with pytest.raises(InputError, match="holds out no example"):
            hold_out(source, percent / 100)
        return
    train, validation = hold_out(source, percent / 100)
    rest = [index for index in range(len(labels)) if index not in expected]
    assert train.images[:, 0, 0, 0].tolist() == rest
    assert train.labels.tolist() == [labels[index] for index in rest]
    if not percent:
        assert validation is None
    else:
        assert validation.images[:, 0, 0, 0].tolist() == expected
        assert validation.labels.tolist() == [labels[index] for index in expected]


def test_hold_out_counts_what_binary_fractions_round_down():
    assert 0.29 * 100 < 29
    _, validation = hold_out(make_source([0] * 100), 0.29)
    assert len(validation) == 29


def test_classes_are_selected_by_name_and_relabelled_in_the_given_order():
    selected = select_classes(make_source([0, 1, 2, 2, 0, 1]), ("c", "a"))
    assert selected.classes == ("c", "a")
    assert selected.labels.tolist() == [1, 0, 0, 1]
    assert selected.images[:, 0, 0, 0].tolist() == [0, 2, 3, 4]


def test_binary_task_of_the_sample():
    splits = create_splits("fashion_mnist", classes=("Sneaker", "Ankle boot"))
    sizes = [np.bincount(source.labels).tolist() for source in (splits.train, splits.validation, splits.test)]
    assert sizes == [[450, 450], [50, 50], [100, 100]]
    everything = create_splits("fashion_mnist")
    sneakers = everything.test.images[everything.test.labels == 7]
    np.testing.assert_array_equal(splits.test.images[splits.test.labels == 0], sneakers)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("Sneaker", "Ankel boot"), "did you mean 'Ankle boot'"),
        (("Sneaker",), "at least two"),
        (("Sneaker", "Sneaker"), "each once"),
    ],
)
def test_bad_classes_are_refused(classes, message):
    with pytest.raises(InputError, match=message):
        create_splits("fashion_mnist", classes=classes)


# ArraySource


def test_gather_gives_the_examples_at_the_indices():
    batch = make_source([0, 1, 2, 2]).gather(np.array([3, 0, 3]))
    assert batch["image"][:, 0, 0, 0].tolist() == [3, 0, 3]
    assert batch["label"].tolist() == [2, 0, 2]
    assert (batch["image"].dtype, batch["label"].dtype) == (np.uint8, np.int32)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 2, 2, 1), np.float32), np.zeros(3, np.int32), "images are float32"),
        (np.zeros((3, 2, 2), np.uint8), np.zeros(3, np.int32), r"shape \(3, 2, 2\)"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(3, np.int64), "labels are int64"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(2, np.int32), r"must be int32 of shape \(3,\)"),
        (np.zeros((0, 2, 2, 1), np.uint8), np.zeros(0, np.int32), "holds no images"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 2, -1], np.int32), "example 1 is 2; allowed are 0 to 1"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 1, -1], np.int32), "example 2 is -1"),
    ],
)
def test_bad_arrays_are_refused_when_the_source_is_made(images, labels, message):
    with pytest.raises(InputError, match=message):
        ArraySource(images, labels, ("a", "b"))


def test_data_imports_no_jax():
    code = "import sys, resnet_alexnet.data.loader; sys.exit('jax' in sys.modules or 'grain' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
