"""Points of a grid, and random points, for the sweep() of a sweep file."""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from resnet_alexnet.errors import InputError

Distribution = Callable[[random.Random], Any]
_DIGITS = 4  # significant ones of random numbers: the names of run folders show the very values


def grid(values: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the values of each field; the last field changes fastest.

    Args:
        values: by field, such as {"optim.learning_rate": (0.05, 0.1), "seed": range(3)}.
    """
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def sample(count: int, distributions: Mapping[str, Distribution], *, seed: int) -> Iterator[dict[str, Any]]:
    """Random points. The first ones stay the same if `count` grows, so that a sweep can be extended.

    Args:
        count: how many.
        distributions: by field, such as {"optim.learning_rate": log_uniform(1e-3, 1.0)}.
        seed: of the draws.

    Source: Bergstra and Bengio 2012, who compare random search with grids.
    """
    generator = random.Random(seed)
    for _ in range(count):
        yield {field: draw(generator) for field, draw in distributions.items()}


def log_uniform(low: float, high: float) -> Distribution:
    """A number whose logarithm is uniform, rounded to four significant digits.

    Raises:
        InputError: not 0 < low < high.
    """
    if not 0 < low < high:
        raise InputError(f"log_uniform({low}, {high}) (allowed: 0 < low < high)")
    return lambda generator: _round(math.exp(generator.uniform(math.log(low), math.log(high))))


def uniform(low: float, high: float) -> Distribution:
    """A uniform number, rounded to four significant digits.

    Raises:
        InputError: not low < high.
    """
    if not low < high:
        raise InputError(f"uniform({low}, {high}) (allowed: low < high)")
    return lambda generator: _round(generator.uniform(low, high))


def choice(*values: Any) -> Distribution:
    """One of the values.

    Raises:
        InputError: there are none.
    """
    if not values:
        raise InputError("choice() has no values to choose from")
    return lambda generator: generator.choice(values)


def _round(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
