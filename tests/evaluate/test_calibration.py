"""Calibration, against a slow loop and cases whose values are known."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet.evaluate.calibration import BINS, calibration
from resnet_alexnet.evaluate.report import report
from resnet_alexnet.evaluate.summary import summary_rows
from tests.support.scores import make_scores


def with_values(values, labels):
    values = np.asarray(values, np.float32)
    scores = make_scores(len(values), tuple("abcdefgh"[: values.shape[1]]))
    return dataclasses.replace(scores, scores=values, labels=np.asarray(labels, np.int32))


def slow(values, labels):
    """Expected error, adaptive error and negative log-likelihood by their definitions, image by image."""
    pairs, likelihoods = [], []
    for row, label in zip(values.astype(np.float64), labels, strict=True):
        best = max(range(len(row)), key=lambda one: (row[one], -one))
        pairs.append((row[best], float(best == label)))
        likelihoods.append(-math.log(row[label] / sum(row)))

    def gap(group):
        return abs(sum(confidence - right for confidence, right in group)) if group else 0.0

    expected = 0.0
    for m in range(1, 16):
        group = [pair for pair in pairs if (m - 1) / 15 < pair[0] <= m / 15]
        expected += 100 * gap(group) / len(pairs)
    ordered, adaptive, start = sorted(pairs, key=lambda pair: pair[0]), 0.0, 0
    for m in range(15):
        size = len(pairs) // 15 + (m < len(pairs) % 15)
        adaptive += 100 * gap(ordered[start : start + size]) / len(pairs)
        start += size
    return expected, adaptive, sum(likelihoods) / len(likelihoods)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@given(st.integers(0, 10_000), st.integers(15, 80))
def test_the_errors_are_those_of_a_slow_loop(kind, seed, images):
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.ones(4), images) if kind == "softmax" else rng.uniform(0.01, 1, (images, 4))
    scores = with_values(values, rng.integers(0, 4, images))
    found = calibration(scores)
    assert found is not None
    expected, adaptive, likelihood = slow(scores.scores, scores.labels)
    assert found["expected_error"] == pytest.approx(expected)
    assert found["adaptive_error"] == pytest.approx(adaptive)
    assert found["negative_log_likelihood"] == pytest.approx(likelihood)


def test_the_bins_are_a_reliability_diagram():
    found = calibration(with_values([[0.9, 0.1], [0.95, 0.05], [0.45, 0.55], [0.0, 1.0], [0.5, 0.5]], [0, 1, 1, 1, 1]))
    assert found is not None
    assert json.loads(json.dumps(found)) == found
    bins = found["bins"]
    assert len(bins) == BINS == 15
    assert {number: one["images"] for number, one in enumerate(bins) if one["images"]} == {7: 1, 8: 1, 13: 1, 14: 2}
    assert (bins[0]["low"], bins[0]["high"]) == (0, pytest.approx(1 / 15))
    assert (bins[0]["confidence"], bins[0]["accuracy"]) == (None, None)
    assert (bins[8]["confidence"], bins[8]["accuracy"]) == (pytest.approx(55), 100)
    assert (bins[14]["confidence"], bins[14]["accuracy"]) == (pytest.approx(97.5), 50)
    assert found["overconfidence"] == pytest.approx(100 * (3.9 / 5 - 3 / 5))
    assert [one["images"] for one in found["adaptive_bins"]] == [1] * 5
    assert found["adaptive_bins"][0]["low"] == found["adaptive_bins"][0]["high"] == pytest.approx(0.5)


def test_a_network_that_is_right_as_often_as_it_is_confident_has_no_error():
    found = calibration(with_values([[0.75, 0.25]] * 40, [0, 0, 0, 1] * 10))
    assert found is not None
    assert found["expected_error"] == pytest.approx(0, abs=1e-9)
    assert found["negative_log_likelihood"] == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    wrong = calibration(with_values([[1.0, 0.0]] * 4, [1] * 4))
    assert wrong is not None
    assert (wrong["expected_error"], wrong["negative_log_likelihood"]) == (100, 100)


def test_images_without_a_prediction_are_left_out():
    values = [[0.8, 0.2], [np.nan, 0.5], [0.3, 0.7]]
    found = calibration(with_values(values, [0, 0, 0]))
    assert found == calibration(with_values(values[::2], [0, 0]))
    assert found is not None
    assert found["images"] == 2
    nothing = with_values([[np.nan, 0.5]] * 2, [0, 1])
    assert calibration(nothing) is None
    assert "calibration" not in dict(summary_rows(report(nothing)))


def test_it_is_a_part_of_the_report_and_a_line_of_its_summary():
    scores = make_scores(60)
    result = report(scores)
    assert result["calibration"] == calibration(scores)
    line = dict(summary_rows(result))["calibration"]
    assert str(line).startswith(f"expected error {result['calibration']['expected_error']:.2f} % (")
