"""Files that appear whole or not at all."""

import errno
import os

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write


def test_the_file_is_replaced_when_all_is_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def write(path, error):
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (KeyError("x"), KeyError, "x"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), InputError, r"a\.txt cannot be written: No space left"),
    ],
)
def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path, error, raised, message):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(raised, match=message):
        write(path, error)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_takes_no_files_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        write(tmp_path / "nowhere" / "a.txt", KeyError())
