"""A folder of photographs and its source, for the modules that only read them."""

import pytest

from tests.support.photo_sets import create_source, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def source(folder):
    return create_source(folder)
