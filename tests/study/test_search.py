"""Grids and random points."""

import math
import random

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.search import choice, grid, log_uniform, sample, uniform


def test_a_grid_has_every_combination_and_the_last_field_changes_fastest():
    points = list(grid({"optim.learning_rate": (0.1, 0.2), "seed": range(2)}))
    assert points == [
        {"optim.learning_rate": 0.1, "seed": 0},
        {"optim.learning_rate": 0.1, "seed": 1},
        {"optim.learning_rate": 0.2, "seed": 0},
        {"optim.learning_rate": 0.2, "seed": 1},
    ]


def test_random_points_depend_on_the_seed_alone_and_a_longer_search_begins_with_a_shorter_one():
    fields = {"optim.learning_rate": log_uniform(1e-4, 1.0), "batch_size": choice(32, 64)}
    points = list(sample(20, fields, seed=1))
    random.seed(0)
    assert list(sample(50, fields, seed=1))[:20] == points
    assert list(sample(20, fields, seed=2)) != points
    assert {point["batch_size"] for point in points} == {32, 64}


def test_a_log_uniform_number_is_as_often_below_the_geometric_mean_as_above():
    rates = [point["x"] for point in sample(2000, {"x": log_uniform(1e-4, 1.0)}, seed=0)]
    assert 1e-4 <= min(rates) < 2e-4
    assert 0.5 < max(rates) <= 1
    assert 0.45 < sum(rate < 1e-2 for rate in rates) / len(rates) < 0.55
    assert all(float(f"{rate:.4g}") == rate for rate in rates)
    flat = [point["x"] for point in sample(2000, {"x": uniform(0, 2)}, seed=0)]
    assert math.isclose(sum(flat) / len(flat), 1, abs_tol=0.05)


@pytest.mark.parametrize("bad", [lambda: log_uniform(0, 1), lambda: log_uniform(2, 1), lambda: uniform(1, 1), choice])
def test_an_empty_range_is_an_error(bad):
    with pytest.raises(InputError, match=r"allowed: |no values"):
        bad()
