"""Verdicts on claims: what a few runs of two arms say about a difference, and what they do not.

The rule was fixed before any run: Welch's interval for the difference, two one-sided tests (TOST) for equality, and a
prediction interval against a single published number. No bootstrap: over three seeds a 95 % percentile bootstrap covers
about 81 %.

Source: Welch 1947; Schuirmann 1987 for TOST, as in Lakens 2017; Colas et al. 2018 on few seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from scipy import stats

CONFIDENCE = 0.95
ALPHA = 0.05  # of each one-sided test of equality
POWER = 0.8
FEWEST = 3  # runs of an arm for a verdict

NOT_RUN, INDICATIVE, REPRODUCED, DIFFERS, WITHIN_NOISE = (
    "not run",
    "indicative",
    "reproduced",
    "differs",
    "within noise",
)


@dataclass(frozen=True)
class Difference:
    """The difference between the means of two arms, larger - smaller by the claim.

    Attributes:
        verdict: one of the five words above.
        value: the difference; None if an arm has no runs.
        interval: 95 % by Welch's t; None with fewer than two runs of an arm.
        equality: the interval of 90 % that is inside (-margin, margin) if the two are equal by TOST.
        p: of Welch's test, two-sided.
        detectable: the difference that would have been seen with 80 % power, given these deviations.
    """

    verdict: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    equality: tuple[float, float] | None = None
    p: float | None = None
    detectable: float | None = None


def judge(
    larger: Sequence[float], smaller: Sequence[float], *, margin: float, claims_equality: bool = False
) -> Difference:
    """Judges the claim that a mean is larger than another one, or that the two are equal.

    Decided by the first that holds: "not run", an arm has no values; "indicative", one has fewer than three;
    "reproduced", the interval of the difference excludes 0 and has the sign of the claim; "differs", it excludes 0 with
    the other sign, or the two are equal within the margin by TOST; else "within noise". Of a claim of equality,
    equality by TOST is "reproduced", and an interval that excludes 0 "differs".

    Args:
        larger: a value for each run of the arm with the larger mean by the claim.
        smaller: those of the other one.
        margin: the difference below which the two count as equal, > 0.
        claims_equality: whether the claim is that they are equal.
    """
    if not larger or not smaller:
        return Difference(NOT_RUN)
    value = fmean(larger) - fmean(smaller)
    if min(len(larger), len(smaller)) < 2:
        return Difference(INDICATIVE, value)
    terms = variance(larger) / len(larger), variance(smaller) / len(smaller)
    error = math.sqrt(sum(terms))
    freedom = _freedom(terms, (len(larger) - 1, len(smaller) - 1))

    def interval(confidence: float) -> tuple[float, float]:
        half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error if error else 0.0
        return value - half, value + half

    low, high = interval(CONFIDENCE)
    inner = interval(1 - 2 * ALPHA)
    p = float(2 * stats.t.sf(abs(value) / error, freedom)) if error else float(value == 0)
    numbers = (value, (low, high), inner, p, _detectable(error, freedom))
    if min(len(larger), len(smaller)) < FEWEST:
        return Difference(INDICATIVE, *numbers)
    is_equal = -margin < inner[0] and inner[1] < margin
    differs = low > 0 or high < 0
    if claims_equality:
        verdict = REPRODUCED if is_equal else DIFFERS if differs else WITHIN_NOISE
    elif low > 0:
        verdict = REPRODUCED
    else:
        verdict = DIFFERS if differs or is_equal else WITHIN_NOISE
    return Difference(verdict, *numbers)


def _freedom(terms: tuple[float, float], each: tuple[int, int]) -> float:
    """Welch and Satterthwaite's degrees of freedom, from the squared standard errors and n - 1."""
    below = sum(term**2 / n for term, n in zip(terms, each, strict=True))
    return sum(terms) ** 2 / below if below else float(sum(each))


def _detectable(error: float, freedom: float) -> float:
    """The difference that a two-sided test of 5 % sees with 80 % power, to a first order."""
    if not error:
        return 0.0
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) + stats.t.ppf(POWER, freedom)) * error


def prediction_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where one more run would be, with 95 %; None for fewer than two values.

    A published number of one run is compared with it, at the paper's own scale only.
    """
    if len(values) < 2:
        return None
    n = len(values)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(values) * math.sqrt(1 + 1 / n)
    return fmean(values) - half, fmean(values) + half


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's interval of 95 % for the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    n = len(values)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return fmean(values) - half, fmean(values) + half


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for looking at all of them (Holm 1979), in their order."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def sampling_error(error: float, images: int) -> float:
    """The standard error, in points, of an error of `error` percent that was measured on so many images.

    Intervals over seeds do not have it: all runs are tested on the same images.
    """
    share = error / 100
    return 100 * math.sqrt(share * (1 - share) / images)
