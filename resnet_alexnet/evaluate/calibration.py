"""Calibration: whether a network is right as often as it is confident.

The confidence of a prediction is the score of the predicted class. Softmax scores are a distribution over the classes.
Sigmoid scores are not: each is the probability that the image is of its class, whatever the others say, and the
confidence is that of the highest. Percents are of the images with a prediction.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from resnet_alexnet.evaluate.scores import Scores
from resnet_alexnet.metrics import top_errors

BINS = 15  # as in the tables of Guo et al. 2017
_SMALLEST_LOG = -100.0  # of a score of 0, as in `losses.binary_cross_entropy`


def calibration(scores: Scores) -> dict[str, Any] | None:
    """The calibration of the top-1 predictions, as JSON values; None if no image has a prediction.

    Returns:
        "images", the number of images with a prediction; "expected_error", the expected calibration error in percent:
        the difference of mean confidence and accuracy in bins of equal width, averaged over the images;
        "adaptive_error", the same in bins of equally many images; "overconfidence", mean confidence minus accuracy, in
        points; "negative_log_likelihood", the mean of -log of the label's score among all scores of the image, in nats:
        sigmoid scores are divided by their sum for this, so that losses can be compared; and "bins" and
        "adaptive_bins", reliability diagrams: of each bin "images", "low" and "high", the confidences that it holds,
        "confidence" and "accuracy", the means in percent (None without images).

    Source: Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", section 2: equation 3 with
        bins ((m - 1) / M, m / M], M = 15. Bins of equally many images: Nguyen and O'Connor 2015, "Posterior calibration
        and exploratory analysis for natural language processing models", section 3.
    """
    valid = ~np.isnan(scores.scores).any(axis=1)
    if not valid.any():
        return None
    values, labels = scores.scores[valid].astype(np.float64), scores.labels[valid]
    confidence, right = values.max(axis=1), ~top_errors(values, labels)["top1"]
    edges = np.arange(BINS + 1) / BINS
    number = np.clip(np.searchsorted(edges, confidence) - 1, 0, BINS - 1)
    by_width = [_bin(confidence, right, number == m, edges[m], edges[m + 1]) for m in range(BINS)]
    by_mass = [
        _bin(confidence, right, rows, confidence[rows[0]], confidence[rows[-1]])
        for rows in np.array_split(np.argsort(confidence, kind="stable"), min(BINS, len(confidence)))
    ]
    total = np.maximum(values.sum(axis=1), np.finfo(np.float64).tiny)  # sigmoid scores may all be 0
    with np.errstate(divide="ignore"):
        log_likelihood = np.log(values[np.arange(len(labels)), labels] / total)
    return {
        "images": len(labels),
        "expected_error": _mean_gap(by_width),
        "adaptive_error": _mean_gap(by_mass),
        "overconfidence": 100 * float(confidence.mean() - right.mean()),
        "negative_log_likelihood": -float(np.maximum(log_likelihood, _SMALLEST_LOG).mean()),
        "bins": by_width,
        "adaptive_bins": by_mass,
    }


def _bin(
    confidence: Float[np.ndarray, "images"], right: Bool[np.ndarray, "images"], rows: Any, low: float, high: float
) -> dict[str, Any]:
    """A bin of a reliability diagram: the images at `rows`."""
    count = len(confidence[rows])
    mean, accuracy = (100 * float(each[rows].mean()) if count else None for each in (confidence, right))
    return {"images": count, "low": float(low), "high": float(high), "confidence": mean, "accuracy": accuracy}


def _mean_gap(bins: list[dict[str, Any]]) -> float:
    """The difference of confidence and accuracy, averaged over the images of all bins."""
    gaps = [each["images"] * abs(each["confidence"] - each["accuracy"]) for each in bins if each["images"]]
    return sum(gaps) / sum(each["images"] for each in bins)
