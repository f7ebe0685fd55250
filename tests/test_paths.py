"""Selecting layers and parameters by path prefix."""

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.paths import check_prefixes, is_within, longest_prefix

PATHS = ["stem/conv1/kernel", "stages/1/0/kernel", "stages/10/0/kernel", "head/bias"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("stages/1/0/kernel", "stages.1"),
        ("stages.1.0.kernel", "stages.1"),
        ("stages/10/0/kernel", "stages"),  # names are compared whole
        ("stages", "stages"),
        ("head/bias", None),
        ("stagesque/1", None),
    ],
)
def test_the_longest_prefix_of_whole_names(path, expected):
    assert longest_prefix(path, ["stages", "stages.1", "stages/1/0/bias"]) == expected
    assert is_within(path, ["stages"]) == (expected is not None)


def test_a_prefix_without_a_match_is_reported_with_the_closest_path():
    check_prefixes("frozen", ["stages/1", "stages.10.0", "head", "stem.conv1.kernel"], PATHS)
    for prefix, message in {
        "stages/2": "frozen has 'stages/2', did you mean 'stages/1'. .allowed: stem, stages, head, or a path",
        "hed": "frozen has 'hed', did you mean 'head'",
        "": "frozen has ''",
        "head.": "frozen has 'head.'",
    }.items():
        with pytest.raises(InputError, match=message):
            check_prefixes("frozen", [prefix], PATHS)
