"""Reports on scores: errors with confidence intervals, per class and between classes, and a test of two networks.

Errors are in percent. On ties the lower class comes first, and an image without a prediction is an error, as in
`metrics`.
"""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from scipy.stats import binomtest

from resnet_alexnet.evaluate.calibration import calibration
from resnet_alexnet.evaluate.scores import Scores, check_same_split
from resnet_alexnet.metrics import top_errors

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
NO_PREDICTION = -1


def report(scores: Scores) -> dict[str, Any]:
    """The report of a split, as JSON values.

    Returns:
        "images"; "classes"; "top1_error" and, for five classes or more, "top5_error", each with "top1_interval" or
        "top5_interval" (95 %, Wilson); if only some classes have images, "among_present", the errors if only these can
        be predicted; "without_prediction", the number of images with a NaN; "per_class", the number of images of each
        class and their top-1 error (None without images); "confusions", [class, prediction, images] for wrong
        predictions, the most frequent first; "calibration", see `calibration.calibration`; and "settings".
    """
    errors = top_errors(scores.scores, scores.labels)
    present = among_present(scores)
    images = np.bincount(scores.labels, minlength=len(scores.classes))
    wrong = np.bincount(scores.labels[errors["top1"]], minlength=len(scores.classes))
    return {
        "images": len(scores.labels),
        "classes": len(scores.classes),
        **_error_rates(errors),
        **({} if present is None else {"among_present": present}),
        "confidence": CONFIDENCE,
        "without_prediction": int((predictions(scores) == NO_PREDICTION).sum()),
        "per_class": {
            name: {"images": int(count), "top1_error": 100 * int(bad) / int(count) if count else None}
            for name, count, bad in zip(scores.classes, images, wrong, strict=True)
        },
        "confusions": [
            [scores.classes[label], scores.classes[prediction], count]
            for label, prediction, count in confusions(confusion_matrix(scores))
        ],
        "calibration": calibration(scores),
        "settings": scores.settings,
    }


def _error_rates(errors: Mapping[str, Bool[np.ndarray, "images"]]) -> dict[str, Any]:
    """Errors in percent, with intervals, by what `top_errors` says of each image."""
    values: dict[str, Any] = {}
    for name, wrong in errors.items():
        values[f"{name}_error"] = 100 * float(wrong.mean())
        values[f"{name}_interval"] = wilson_interval(int(wrong.sum()), len(wrong))
    return values


def among_present(scores: Scores) -> dict[str, Any] | None:
    """The errors if the prediction is the best of the classes that have images; None if all classes have some.

    Source: Hendrycks et al. 2021, "Natural adversarial examples" and "The many faces of robustness": networks of 1,000
        classes, tested on images of 200.

    Returns:
        "classes", the number of classes with images, and errors as in `report`.
    """
    present = np.unique(scores.labels)
    if not 2 <= len(present) < len(scores.classes):
        return None
    errors = top_errors(scores.scores[:, present], np.searchsorted(present, scores.labels))
    return {"classes": len(present), **_error_rates(errors)}


def predictions(scores: Scores) -> Int[np.ndarray, "images"]:
    """The predicted class of each image; NO_PREDICTION for a row with a NaN."""
    return np.where(np.isnan(scores.scores).any(axis=1), NO_PREDICTION, scores.scores.argmax(axis=1))


def confusion_matrix(scores: Scores) -> Int[np.ndarray, "classes classes"]:
    """The number of images by class (row) and prediction (column), without the images that have no prediction."""
    matrix = np.zeros((len(scores.classes),) * 2, np.int64)
    predicted = predictions(scores)
    valid = predicted != NO_PREDICTION
    np.add.at(matrix, (scores.labels[valid], predicted[valid]), 1)
    return matrix


def confusions(matrix: Int[np.ndarray, "classes classes"]) -> list[tuple[int, int, int]]:
    """(class, prediction, images) for each pair of different classes that has images, the most frequent first."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    rows, columns = np.nonzero(wrong)
    found = zip(rows.tolist(), columns.tolist(), wrong[rows, columns].tolist(), strict=True)
    return sorted(found, key=lambda each: (-each[2], each[0], each[1]))


def wilson_interval(count: int, total: int) -> list[float]:
    """The 95 % confidence interval of a proportion, in percent. Source: Wilson 1927, "Probable inference"."""
    proportion, spread = count / total, _Z**2 / total
    middle = (proportion + spread / 2) / (1 + spread)
    half = math.sqrt(proportion * (1 - proportion) * spread + spread**2 / 4) / (1 + spread)
    return [100 * max(0.0, middle - half), 100 * min(1.0, middle + half)]


def compare(scores: Scores, other: Scores) -> dict[str, Any]:
    """Tests whether the top-1 errors of two networks on the same images differ, by McNemar's exact test.

    Returns:
        JSON values: "difference", the error of `scores` minus that of `other`, in percent of the images, with
        "difference_interval" (95 %); "p_value", the probability that the images that only one of them gets wrong split
        at least as unequally by chance; "only_this_wrong", "only_other_wrong", "both_wrong", "both_right", in images.

    Raises:
        InputError: the scores are of different splits or classes.

    Source: McNemar 1947; Dietterich 1998, "Approximate statistical tests for comparing supervised classification
        learning algorithms", for networks.
    """
    check_same_split(scores, other)
    this_wrong, other_wrong = (top_errors(each.scores, each.labels)["top1"] for each in (scores, other))
    only_this, only_other = int((this_wrong & ~other_wrong).sum()), int((other_wrong & ~this_wrong).sum())
    discordant = only_this + only_other
    return {
        "other": other.name,
        "other_top1_error": _percent(other_wrong),
        "difference": _percent(this_wrong) - _percent(other_wrong),
        "difference_interval": paired_interval(only_this, only_other, len(this_wrong)),
        "p_value": float(binomtest(only_this, discordant).pvalue) if discordant else 1.0,
        "only_this_wrong": only_this,
        "only_other_wrong": only_other,
        "both_wrong": int((this_wrong & other_wrong).sum()),
        "both_right": int((~this_wrong & ~other_wrong).sum()),
        "other_settings": other.settings,
    }


def _percent(wrong: Bool[np.ndarray, "images"]) -> float:
    return 100 * float(wrong.mean())


def paired_interval(only_this: int, only_other: int, total: int) -> list[float]:
    """The 95 % confidence interval of the difference of two errors on the same images, in percent.

    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions": Wald's
        interval, with half an image added to each of the four counts.
    """
    this, other, total = only_this + 0.5, only_other + 0.5, total + 2
    difference = (this - other) / total
    half = _Z * math.sqrt(this + other - (this - other) ** 2 / total) / total
    return [100 * max(-1.0, difference - half), 100 * min(1.0, difference + half)]
