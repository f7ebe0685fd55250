"""Sets of photographs for the modules that only read them."""

import pytest

from tests.support import tfds_sets
from tests.support.photo_sets import create_source, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def source(folder):
    return create_source(folder)


@pytest.fixture
def tfds_root(tmp_path):
    """The TFDS set "animals": 40 training and 6 test images of 12 x 14 pixels."""
    tfds_sets.write_set(tmp_path, {"train": [25, 15], "test": [6]}, example=tfds_sets.small_example)
    return tmp_path
