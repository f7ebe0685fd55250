"""The classes of a data set among those of a network, by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet.data.readers.imagenet_classes import display_name, imagenet_classes
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate.classes import match_classes

WNIDS = imagenet_classes()
WORDS = tuple(map(display_name, WNIDS))


@given(
    chosen=st.lists(st.integers(0, 999), min_size=1, max_size=200, unique=True),
    separator=st.sampled_from([" ", "_", "-"]),
    change=st.sampled_from([str, str.title, str.upper, str.lower]),
)
def test_some_of_imagenets_classes_keep_their_logits_by_id_or_word(chosen, separator, change):
    clear = [index for index in chosen if WORDS[index].lower() != "cardigan"]  # a dog and a garment
    folders = [change(WORDS[index]).replace(" ", separator) for index in clear]
    ids = [WNIDS[index] for index in chosen]
    assert match_classes(ids, WNIDS, network="net").tolist() == chosen
    assert match_classes(folders, WNIDS, network="net").tolist() == clear
    assert match_classes(ids, WORDS, network="net").tolist() == chosen
    assert match_classes([WORDS[index] for index in chosen], WORDS, network="net").tolist() == chosen


def test_numbers_as_names_are_matched_as_names_and_never_by_their_place():
    """Folders are sorted as text: 0, 1, 10, 11, 2, ..."""
    names = [str(number) for number in range(12)]
    np.testing.assert_array_equal(match_classes(names, sorted(names), network="net"), [0, 1, *range(4, 12), 2, 3])
    with pytest.raises(
        InputError, match=r"^net lacks 12 of the 12 classes of the data: '0', '1', '2', \.\.\. \(it has 1,000: 'n"
    ):
        match_classes(names, WNIDS, network="net")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("n01440764", "unicorn"), r"^net lacks 1 of the 2 classes of the data: 'unicorn'"),
        (("n01440764", "Tench"), "^'n01440764' and 'Tench' of the data are one class of net"),
        (("cardigan",), "^'cardigan' of the data may be n02113186 or n02963159 of net .allowed: names that"),
        (("crane",), "^net lacks 1 of the 1 classes of the data: 'crane'"),  # a bird or a machine
    ],
)
def test_classes_that_cannot_be_matched_are_one_line(classes, message):
    with pytest.raises(InputError, match=message) as error:
        match_classes(classes, WNIDS, network="net")
    assert "\n" not in str(error.value)


def test_other_names_must_be_equal_to_the_letter():
    with pytest.raises(InputError, match="'Cat', did you mean 'cat'"):
        match_classes(("Cat",), ("cat", "dog"), network="net")


def test_networks_whose_classes_are_lists_of_words_know_the_first():
    """As id2label of the ImageNet networks on Hugging Face."""
    names = ("tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark, white shark, man-eater")
    assert match_classes(("n01484850", "n01440764"), names, network="net").tolist() == [2, 0]
    names = ("cardigan", "Cardigan, Cardigan Welsh corgi")
    assert match_classes(("n02113186", "n02963159"), names, network="net").tolist() == [1, 0]


def test_a_name_that_two_classes_of_the_network_have_is_refused():
    with pytest.raises(InputError, match="'crane' of the data may be crane or crane of net"):
        match_classes(("crane",), ("crane", "dog", "crane"), network="net")
    same = ("crane", "dog", "crane")
    assert match_classes(same, same, network="net").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("classes", "network_classes", "message"),
    [
        (("cat", "dog", "owl"), ("0", "1", "2"), "no names for its 3 classes, only numbers: name them"),
        (("0", "1", "10", "11", "2"), tuple(map(str, range(12))), r"whose order may be that of numbers \(2, 10\)"),
    ],
)
def test_classes_that_are_only_numbers_are_to_be_named(classes, network_classes, message):
    with pytest.raises(InputError, match=message):
        match_classes(classes, network_classes, network="net")
    assert match_classes(("1", "0"), ("0", "1"), network="net").tolist() == [1, 0]
