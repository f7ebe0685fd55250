"""ImageNet's classes: as many, in the order and with the words that published networks go by."""

import importlib.metadata

import pytest

from resnet_alexnet.data.readers.imagenet_classes import display_name, imagenet_classes


def test_the_classes_are_those_of_ilsvrc_2012_in_order():
    classes = imagenet_classes()
    assert len(classes) == 1000
    assert list(classes) == sorted(set(classes))


@pytest.mark.parametrize(
    ("number", "wordnet_id", "word"),
    [  # known from the papers' and everybody's examples
        (0, "n01440764", "tench"),
        (207, "n02099601", "golden retriever"),
        (281, "n02123045", "tabby"),
        (404, "n02690373", "airliner"),
        (999, "n15075141", "toilet tissue"),
    ],
)
def test_numbers_ids_and_words_belong_together(number, wordnet_id, word):
    assert imagenet_classes()[number] == wordnet_id
    assert display_name(wordnet_id) == word


def test_no_two_classes_have_the_same_word_and_other_names_stay():
    assert len({display_name(name) for name in imagenet_classes()}) == 1000
    assert display_name("Ankle boot") == "Ankle boot"


def test_the_words_agree_with_timms():
    try:  # without importing it: only its tables are wanted
        tables = importlib.metadata.distribution("timm").locate_file("timm/data/_info")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("timm is not installed: `make test` installs it")
    assert tuple((tables / "imagenet_synsets.txt").read_text().split()) == imagenet_classes()
    lemmas = dict(line.split("\t") for line in (tables / "imagenet_synset_to_lemma.txt").read_text().splitlines())
    for name in imagenet_classes():
        assert display_name(name).partition(" (")[0] == lemmas[name].split(", ")[0]
