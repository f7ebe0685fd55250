import numpy as np
import pytest

from resnet_alexnet.data.readers.fashion_mnist import CLASSES, read_fashion_mnist
from resnet_alexnet.data.readers.mnist import read_mnist
from resnet_alexnet.errors import InputError
from tests.support.published_sets import idx_bytes, write_idx_files

both = pytest.mark.parametrize(("read", "title"), [(read_mnist, "MNIST"), (read_fashion_mnist, "Fashion-MNIST")])


@pytest.mark.parametrize(
    ("read", "expected_classes"), [(read_mnist, tuple("0123456789")), (read_fashion_mnist, CLASSES)]
)
@pytest.mark.parametrize(("suffix", "dash"), [("", "-"), (".gz", "-"), ("", "."), (".gz", ".")])
def test_the_four_files_are_read(tmp_path, read, expected_classes, suffix, dash):
    written = write_idx_files(tmp_path, suffix=suffix, dash=dash)
    train, test, classes = read(str(tmp_path))
    assert classes == expected_classes
    for (images, labels), prefix in ((train, "train"), (test, "t10k")):
        np.testing.assert_array_equal(images[..., 0], written[prefix][0])
        np.testing.assert_array_equal(labels, written[prefix][1])
        assert (images.shape[1:], images.dtype, labels.dtype) == ((28, 28, 1), np.uint8, np.int32)


@both
def test_missing_file_is_named(tmp_path, read, title):
    write_idx_files(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    message = rf"t10k-labels-idx1-ubyte\[.gz\] is missing: data_dir must be the folder of {title}'s four IDX files"
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path)
    assert ("leave data_dir empty for the embedded sample" in str(error.value)) == (title == "Fashion-MNIST")


def test_mnist_needs_data_dir():
    with pytest.raises(InputError, match="mnist needs data_dir: data_dir must be the folder of MNIST's four IDX files"):
        read_mnist("")


@both
def test_images_and_labels_of_different_counts_are_refused(tmp_path, read, title):
    write_idx_files(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(19, np.uint8)))
    with pytest.raises(InputError, match=r"has 20 images, but .*train-labels-idx1-ubyte has 19 labels"):
        read(tmp_path)


@both
def test_images_of_another_size_are_refused(tmp_path, read, title):
    write_idx_files(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((20, 32, 32), np.uint8)))
    with pytest.raises(InputError, match=f"32x32 pixels, but {title} has 28x28"):
        read(tmp_path)
