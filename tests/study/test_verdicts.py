"""Verdicts against scipy, by hand and by simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resnet_alexnet.study import verdicts
from resnet_alexnet.study.verdicts import judge

ERRORS = st.lists(st.floats(0, 100), min_size=3, max_size=6).filter(lambda values: np.std(values) > 0.01)


@given(ERRORS, ERRORS)
def test_the_interval_and_p_are_those_of_welch(larger, smaller):
    found = judge(larger, smaller, margin=1.0)
    known = stats.ttest_ind(larger, smaller, equal_var=False)
    assert found.interval == pytest.approx(tuple(known.confidence_interval(0.95)))
    assert found.equality == pytest.approx(tuple(known.confidence_interval(0.90)))
    assert found.p == pytest.approx(known.pvalue)


@pytest.mark.parametrize(
    ("larger", "smaller", "options", "verdict"),
    [
        ([], [1.0, 2.0, 3.0], {}, "not run"),
        ([9.0], [1.0, 2.0, 3.0], {}, "indicative"),
        ([9.0, 9.1], [1.0, 2.0, 3.0], {}, "indicative"),
        ([9.0, 9.1, 9.2], [1.0, 1.1, 1.2], {}, "reproduced"),
        ([1.0, 1.1, 1.2], [9.0, 9.1, 9.2], {}, "differs"),
        ([1.0, 5.0, 9.0], [2.0, 6.0, 8.0], {}, "within noise"),
        ([5.0, 5.01, 5.02], [5.0, 5.01, 5.02], {}, "differs"),  # equal within the margin: not larger, as claimed
        ([5.0, 5.01, 5.02], [5.0, 5.01, 5.02], {"claims_equality": True}, "reproduced"),
        ([9.0, 9.1, 9.2], [1.0, 1.1, 1.2], {"claims_equality": True}, "differs"),
        ([1.0, 5.0, 9.0], [2.0, 6.0, 8.0], {"claims_equality": True}, "within noise"),
        ([5.5, 5.51, 5.52], [5.0, 5.01, 5.02], {}, "reproduced"),  # below the margin, but larger without doubt
        ([5.0, 5.0, 5.0], [5.0, 5.0, 5.0], {"claims_equality": True}, "reproduced"),
        ([6.0, 6.0, 6.0], [5.0, 5.0, 5.0], {}, "reproduced"),
    ],
)
def test_each_verdict(larger, smaller, options, verdict):
    assert judge(larger, smaller, margin=1.0, **options).verdict == verdict


def test_of_one_run_each_there_is_a_difference_and_no_interval():
    found = judge([9.0], [4.0], margin=1.0)
    assert (found.value, found.interval, found.p) == (5.0, None, None)


def test_welchs_interval_of_three_runs_covers_the_true_difference():
    """FACTS: 96.8 % of 20,000 draws, where the deviations are equal."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        low, high = judge(rng.normal(5, 1, 3).tolist(), rng.normal(3, 1, 3).tolist(), margin=1.0).interval
        inside += low <= 2 <= high
    assert 0.95 <= inside / 2000 <= 0.985


def test_equality_is_rarely_found_where_the_difference_is_the_margin():
    rng = np.random.default_rng(0)
    found = [
        judge(rng.normal(1, 0.3, 4).tolist(), rng.normal(0, 0.3, 4).tolist(), margin=1.0, claims_equality=True).verdict
        for _ in range(2000)
    ]
    assert found.count("reproduced") / 2000 <= 0.06  # 5 %, the level of the test


def test_a_difference_that_is_said_to_be_detectable_is_seen_as_often_as_said():
    rng = np.random.default_rng(0)

    def draw(mean: float) -> list[float]:
        return rng.normal(mean, 1.0, 5).tolist()

    detectable = np.mean([judge(draw(0), draw(0), margin=1.0).detectable for _ in range(500)])
    seen = [judge(draw(detectable), draw(0), margin=0.1).verdict for _ in range(1000)]
    assert 0.7 <= seen.count("reproduced") / 1000 <= 0.9


def test_one_more_run_lies_in_the_prediction_interval():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        low, high = verdicts.prediction_interval(rng.normal(5, 1, 5).tolist())
        inside += low <= rng.normal(5, 1) <= high
    assert 0.935 <= inside / 2000 <= 0.965
    assert verdicts.prediction_interval([5.0]) is None


def test_the_interval_of_a_mean_is_students():
    values = [4.0, 5.0, 7.0]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert verdicts.mean_interval(values) == pytest.approx(expected)
    assert verdicts.mean_interval([4.0]) is None


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holms_p_are_those_of_the_closed_test(p):
    """Holm is the closed test of Bonferroni: the largest over all subsets with an element of size times its least p."""
    adjusted = verdicts.holm(p)
    for index, found in enumerate(adjusted):
        others = [i for i in range(len(p)) if i != index]
        subsets = ((index, *rest) for size in range(len(p)) for rest in itertools.combinations(others, size))
        closed = max(min(1.0, len(each) * min(p[i] for i in each)) for each in subsets)
        assert found == pytest.approx(closed)


def test_the_sampling_error_of_an_error_is_that_of_a_share():
    assert verdicts.sampling_error(10.0, 1000) == pytest.approx(100 * math.sqrt(0.1 * 0.9 / 1000))
