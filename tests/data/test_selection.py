"""Held-out examples and selected classes, of arrays and of photographs alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet.data.selection import held_out_start, hold_out, select_classes
from resnet_alexnet.errors import InputError
from tests.support.arrays import make_source
from tests.support.photo_sets import create_source, write_folder


@given(count=st.integers(0, 10**7), percent=st.integers(0, 99))
def test_the_last_floor_of_the_fraction_is_held_out(count, percent):
    assert held_out_start(count, percent / 100) == count - count * percent // 100


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
        with pytest.raises(InputError, match="holds out no image"):
            hold_out(source, percent / 100, name="test")
        return
    train, validation = hold_out(source, percent / 100, name="test")
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
    _, validation = hold_out(make_source([0] * 100), 0.29, name="test")
    assert len(validation) == 29


def test_classes_are_selected_by_name_and_relabeled_in_the_given_order():
    selected = select_classes(make_source([0, 1, 2, 2, 0, 1]), ("c", "a"), name="test")
    assert selected.classes == ("c", "a")
    assert selected.labels.tolist() == [1, 0, 0, 1]
    assert selected.images[:, 0, 0, 0].tolist() == [0, 2, 3, 4]


def test_photographs_are_held_out_and_selected_as_arrays_are(tmp_path):
    photos = create_source(write_folder(tmp_path)).photos
    train, validation = hold_out(photos, 0.25, name="test")
    assert (len(train), len(validation)) == (27, 9)
    assert [validation.where(index)[-10:] for index in (0, 3)] == ["ant/09.jpg", "bee/09.jpg"]
    assert validation.read(3) == photos.read(21)
    selected = select_classes(train, ("cat", "ant"), name="test")
    assert (selected.classes, selected.channels, len(selected)) == (("cat", "ant"), 3, 18)
    assert selected.labels.tolist() == [1] * 9 + [0] * 9
    data, label = selected.read(9)
    assert (data, label) == (photos.read(24)[0], 0)
    assert selected.where(9).endswith("cat/00.jpg")
