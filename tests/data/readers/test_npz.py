import re

import numpy as np
import pytest

from resnet_alexnet.data.readers.npz import read_npz
from resnet_alexnet.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(4, 6, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 2])
GOOD = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES[:2], "test_labels": LABELS[:2]}


def save(tmp_path, **arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    return tmp_path / "set.npz"


def refusal(path):
    with pytest.raises(InputError) as error:
        read_npz(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


def test_all_splits_and_classes_are_read(tmp_path):
    validation = {"validation_images": IMAGES[2:], "validation_labels": LABELS[2:]}
    path = save(tmp_path, **GOOD, **validation, classes=np.array(["a", "b", "c", "d"]), other=np.zeros(3))
    splits = read_npz(str(path))
    assert list(splits) == ["train", "validation", "test"]
    for split, rows in (("train", slice(None)), ("validation", slice(2, None)), ("test", slice(2))):
        np.testing.assert_array_equal(splits[split].images, IMAGES[rows])
        np.testing.assert_array_equal(splits[split].labels, LABELS[rows])
        assert splits[split].labels.dtype == np.int32
        assert splits[split].classes == ("a", "b", "c", "d")


def test_only_training_arrays_are_needed_and_classes_are_counted(tmp_path):
    splits = read_npz(save(tmp_path, train_images=IMAGES, train_labels=LABELS))
    assert list(splits) == ["train"]
    assert splits["train"].classes == ("0", "1", "2")


def test_a_test_label_that_training_does_not_know_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"test: the label of image 1 is 5 \(allowed: 0 to 2"):
        read_npz(save(tmp_path, **GOOD | {"test_labels": np.array([0, 5])}))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64, np.uint64, ">i4"])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_labels_are_of_any_integer_type(tmp_path, dtype, shape):
    splits = read_npz(save(tmp_path, train_images=IMAGES, train_labels=LABELS.astype(dtype).reshape(shape)))
    assert splits["train"].labels.tolist() == [0, 2, 1, 2]


def test_keras_names_and_gray_images(tmp_path):
    gray = IMAGES[..., 0]
    splits = read_npz(save(tmp_path, x_train=gray, y_train=LABELS[:, None], x_test=gray[:2], y_test=LABELS[:2]))
    assert list(splits) == ["train", "test"]
    np.testing.assert_array_equal(splits["train"].images, gray[..., None])


class Surprise:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("name", ["train_images", "test_labels", "classes"])
def test_objects_are_never_unpickled(tmp_path, name):
    path = save(tmp_path, **GOOD | {name: np.array([Surprise()] * 4, object)})
    assert f"array {name} cannot be read (it has Python objects, which are never loaded)" in refusal(path)


def test_objects_under_other_names_are_not_even_looked_at(tmp_path):
    path = save(tmp_path, **GOOD, notes=np.array([Surprise()], object))
    assert len(read_npz(path)["train"]) == 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_labels": None}, "has no array train_labels (it has train_images, test_images, test_labels): it needs"),
        ({"train_images": None, "train_labels": None}, "has no array train_images"),
        ({"test_images": None}, "has no array test_images"),
        ({"validation_images": IMAGES}, "has no array validation_labels"),
        ({"train_images": IMAGES / 255}, "array train_images is float64 of shape (4, 6, 5, 3); it must be uint8"),
        ({"test_images": IMAGES[0, 0]}, "array test_images is uint8 of shape (5, 3); it must be uint8"),
        ({"train_labels": LABELS.astype(float)}, "array train_labels is float64 of shape (4,); it must be integers"),
        ({"train_labels": np.eye(4, dtype=int)}, "array train_labels is int64 of shape (4, 4); it must be integers"),
        ({"test_labels": np.array(3)}, "array test_labels is int64 of shape (); it must be integers"),
        (
            {"train_labels": np.array([0, -1, 1, 2])},
            "array train_labels: label 1 is -1 (allowed: class numbers from 0 to",
        ),
        (
            {"train_labels": np.array([0, 1, 2**32, 2])},
            "array train_labels: label 2 is 4294967296 (allowed: class numbers",
        ),
        ({"train_labels": LABELS[:3]}, "train: labels are int32 of shape (3,); they must be int32 of shape (4,)"),
        ({"test_images": IMAGES[:0], "test_labels": LABELS[:0]}, "test has no images"),
        ({"classes": np.array(["a", "b"])}, "train: the label of image 1 is 2 (allowed: 0 to 1"),
        ({"classes": np.array([1, 2, 3])}, "array classes is int64 of shape (3,); it must be strings"),
        ({"classes": np.array(["a", "b", "a"])}, "array classes is <U1 of shape (3,); it must be strings"),
    ],
)
def test_bad_arrays_are_named(tmp_path, arrays, message):
    arrays = {name: array for name, array in (GOOD | arrays).items() if array is not None}
    assert message in refusal(save(tmp_path, **arrays))


def test_files_that_are_no_npz_are_named(tmp_path):
    assert refusal("") == "npz needs data_dir: the .npz file"
    assert "does not exist: for npz it must be the .npz file" in refusal(tmp_path / "no.npz")
    assert "is a folder: for npz it must be the .npz file" in refusal(tmp_path)
    path = tmp_path / "set.npz"
    path.write_bytes(b"")
    assert "is not an .npz file, or damaged (" in refusal(path)
    path.write_bytes(b"something else")
    assert "is not an .npz file, or damaged (" in refusal(path)
    np.save(tmp_path / "one.npy", IMAGES)
    assert "has one array without a name" in refusal(tmp_path / "one.npy")


def test_damaged_files_are_named(tmp_path):
    path = save(tmp_path, **GOOD)
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    assert "is not an .npz file, or damaged (" in refusal(path)
    position = data.index(IMAGES.tobytes())
    path.write_bytes(data[:position] + bytes([data[position] ^ 255]) + data[position + 1 :])
    assert re.search(r"array train_images cannot be read \(damaged: Bad CRC-32.*\); save it again", refusal(path))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_highest_number_of_a_type_is_no_label(tmp_path, kind):
    path = tmp_path / "set.npz"
    highest = int(np.iinfo(kind).max)
    labels = np.array([0, 1, -1]).astype(kind)  # -1, "no label", in a type without a sign
    np.savez(path, train_images=np.zeros((3, 4, 4), np.uint8), train_labels=labels)
    with pytest.raises(InputError, match=rf"array train_labels: label 2 is {highest} \(allowed: .* is no label"):
        read_npz(path)


def test_as_many_classes_as_a_byte_has_values_are_classes(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, train_images=np.zeros((256, 4, 4), np.uint8), train_labels=np.arange(256, dtype=np.uint8))
    assert len(read_npz(path)["train"].classes) == 256
