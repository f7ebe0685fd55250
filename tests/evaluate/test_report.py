"""Reports and comparisons, against scipy, the metrics of training, and plain loops."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resnet_alexnet import metrics
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate.report import (
    compare,
    confusion_matrix,
    confusions,
    paired_interval,
    report,
    wilson_interval,
)
from tests.support.scores import make_scores

NAMES = tuple("abcdef")


def coarse(seed, images=60):
    """Scores with many ties."""
    scores = make_scores(images, NAMES)
    rng = np.random.default_rng(seed)
    return dataclasses.replace(scores, scores=rng.integers(0, 4, scores.scores.shape).astype(np.float32) / 4)


def with_predictions(predicted, labels, classes=NAMES):
    values = np.eye(len(classes), dtype=np.float32)[list(predicted)]
    names = tuple(map(str, range(len(labels))))
    return dataclasses.replace(
        make_scores(len(labels), classes), scores=values, labels=np.array(labels, np.int32), names=names
    )


@given(st.integers(0, 1000))
def test_ranks_follow_the_rule_of_the_metrics(seed):
    scores = coarse(seed)
    scores.scores[::7, 2] = np.nan
    sums = metrics.batch_sums(scores.scores, scores.labels, np.ones(60, bool), np.zeros(60, np.float32))
    result = report(scores)
    rates = metrics.error_rates(sums)
    assert result["top1_error"] == pytest.approx(rates["top1_error"], rel=1e-6)
    assert result["top5_error"] == pytest.approx(rates["top5_error"], rel=1e-6)
    assert result["without_prediction"] == 9


def test_the_error_by_class_and_between_classes():
    scores = with_predictions([0, 0, 1, 2, 2, 2, 2], [0, 1, 1, 0, 0, 2, 1], ("a", "b", "c", "d"))
    result = report(scores)
    assert json.loads(json.dumps(result)) == result
    assert "top5_error" not in result
    assert result["top1_error"] == pytest.approx(100 * 4 / 7)
    assert result["per_class"] == {
        "a": {"images": 3, "top1_error": pytest.approx(200 / 3)},
        "b": {"images": 3, "top1_error": pytest.approx(200 / 3)},
        "c": {"images": 1, "top1_error": 0.0},
        "d": {"images": 0, "top1_error": None},
    }
    assert confusion_matrix(scores).tolist() == [[1, 0, 2, 0], [1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert result["confusions"] == [["a", "c", 2], ["b", "a", 1], ["b", "c", 1]]


@given(st.integers(0, 1000), st.sets(st.integers(0, 5), min_size=1, max_size=6))
def test_among_the_classes_that_have_images_the_best_of_these_is_predicted(seed, chosen):
    scores = coarse(seed)
    rows = np.flatnonzero(np.isin(scores.labels, list(chosen)))
    names = tuple(scores.names[row] for row in rows)
    scores = dataclasses.replace(scores, scores=scores.scores[rows], labels=scores.labels[rows], names=names)
    present, wrong = sorted(set(scores.labels.tolist())), 0
    for values, label in zip(scores.scores, scores.labels, strict=True):
        best = present[0]
        for other in present[1:]:
            best = other if values[other] > values[best] else best
        wrong += best != label
    result = report(scores)
    if len(present) in (1, len(NAMES)):
        assert "among_present" not in result
    else:
        assert result["among_present"]["classes"] == len(present)
        assert result["among_present"]["top1_error"] == pytest.approx(100 * wrong / len(rows))
        assert ("top5_error" in result["among_present"]) == (len(present) >= 5)
        assert result["among_present"]["top1_error"] <= result["top1_error"]


def test_an_image_without_a_prediction_is_wrong_and_confused_with_nothing():
    scores = with_predictions([0, 1, 1], [0, 1, 1])
    scores.scores[1, 4] = np.nan
    result = report(scores)
    assert result["without_prediction"] == 1
    assert result["top1_error"] == result["top5_error"] == pytest.approx(100 / 3)
    assert confusion_matrix(scores).sum() == 2
    assert confusions(confusion_matrix(scores)) == []


@given(st.integers(1, 60_000), st.floats(0, 1))
def test_the_interval_is_scipys(total, share):
    count = round(share * total)
    expected = stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(count, total) == pytest.approx([100 * expected.low, 100 * expected.high], abs=1e-9)


def test_a_comparison_counts_the_images_and_tests_as_scipy_does():
    labels = np.arange(120) % 6
    this, other = labels.copy(), labels.copy()
    this[:30] = (labels[:30] + 1) % 6  # 30 wrong, 12 of them in both
    other[18:40] = (labels[18:40] + 2) % 6
    result = compare(with_predictions(this, labels), dataclasses.replace(with_predictions(other, labels), name="b.npz"))
    assert json.loads(json.dumps(result)) == result
    counts = {name: result[name] for name in ("only_this_wrong", "only_other_wrong", "both_wrong", "both_right")}
    assert counts == {"only_this_wrong": 18, "only_other_wrong": 10, "both_wrong": 12, "both_right": 80}
    assert result["p_value"] == pytest.approx(2 * stats.binom.cdf(10, 28, 0.5))
    assert result["difference"] == pytest.approx(100 * 8 / 120)
    assert (result["other"], result["other_top1_error"]) == ("b.npz", pytest.approx(100 * 22 / 120))
    low, high = result["difference_interval"]
    assert low < 0 < result["difference"] < high


def test_equal_predictions_differ_by_nothing():
    scores = with_predictions([0, 1, 2], [0, 1, 1])
    result = compare(scores, scores)
    assert (result["difference"], result["p_value"]) == (0.0, 1.0)
    assert result["difference_interval"][0] < 0 < result["difference_interval"][1]


def test_the_interval_of_a_paired_difference_holds_it_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    for only_this, only_other, total in ((0.1, 0.05, 200), (0.02, 0.02, 1000), (0.3, 0.1, 50)):
        drawn = rng.multinomial(total, [only_this, only_other, 1 - only_this - only_other], 4000)
        intervals = np.array([paired_interval(int(a), int(b), total) for a, b, _ in drawn])
        true = 100 * (only_this - only_other)
        held = ((intervals[:, 0] <= true) & (true <= intervals[:, 1])).mean()
        assert 0.935 < held < 0.975


def test_scores_of_other_splits_are_not_compared():
    with pytest.raises(InputError, match="not of the same split"):
        compare(with_predictions([0, 1], [0, 1]), with_predictions([0, 1, 1], [0, 1, 1]))
