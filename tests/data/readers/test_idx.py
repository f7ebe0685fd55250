import gzip

import numpy as np
import pytest

from resnet_alexnet.data.readers.idx import read_idx
from resnet_alexnet.errors import InputError
from tests.support.published_sets import idx_bytes


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_files_are_read_whatever_their_name(tmp_path, pack):
    array = np.random.default_rng(0).integers(256, size=(3, 4, 5), dtype=np.uint8)
    (tmp_path / "file").write_bytes(pack(idx_bytes(array)))
    np.testing.assert_array_equal(read_idx(tmp_path / "file", ndim=3), array)


@pytest.mark.parametrize("change", ["truncated", "long", "header", "empty", "magic", "labels", "gzip"])
def test_damaged_idx_file_is_refused_with_its_name(tmp_path, change):
    data = idx_bytes(np.ones((3, 4, 5), np.uint8))
    damaged, message = {
        "truncated": (data[:-1], "cut off"),
        "long": (data + b"\0", "too long"),
        "header": (data[:10], "cut off inside its header"),
        "empty": (b"", "not an IDX file"),
        "magic": (b"\0\0\x0d\x03" + data[4:], "starts with 0x00000d03"),
        "labels": (idx_bytes(np.ones(3, np.uint8)), "not an IDX file of bytes with 3 dimensions"),
        "gzip": (gzip.compress(data)[:-9], "damaged gzip"),
    }[change]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=message) as error:
        read_idx(path, ndim=3)
    assert str(path) in str(error.value)
