"""What both papers and the code around them published, to look up: numbers, settings, layers, findings.

Each number says where it is from and whether it is of one run, a mean or the best. `published` says what that means.
"""

from typing import Any

from resnet_alexnet.study import published_he, published_krizhevsky
from resnet_alexnet.study.published import Published
from resnet_alexnet.study.published_code import COUNTED, RELEASED

NUMBERS: tuple[Published, ...] = (*published_krizhevsky.NUMBERS, *published_he.NUMBERS, *RELEASED, *COUNTED)
FINDINGS = (*published_krizhevsky.FINDINGS, *published_he.FINDINGS)


def find(**fields: Any) -> list[Published]:
    """The numbers whose fields have these values, in the order of their sources."""
    return [number for number in NUMBERS if all(getattr(number, name) == value for name, value in fields.items())]


def one(**fields: Any) -> Published:
    """The only number whose fields have these values.

    Raises:
        LookupError: there is none, or more than one.
    """
    found = find(**fields)
    if len(found) != 1:
        raise LookupError(f"{len(found)} published numbers have {fields}")
    return found[0]


def show_errors(*, quantity: str = "top-1 error", **fields: Any) -> str:
    """The published errors of a network as text: "25.03 / 7.76" if there is a top-5 error too."""
    numbers = find(quantity=quantity, **fields)
    pairs = find(quantity="top-5 error", **fields) if quantity == "top-1 error" else []
    if pairs:
        (first,), (second,) = numbers, pairs
        return f"{first.printed} / {second.printed}"
    return ", ".join(number.show().replace(" %", "") for number in numbers)
