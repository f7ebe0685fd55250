"""The numbers by which arms are compared, each read from the files of one run."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from resnet_alexnet.study.state import MeasuredRun
from resnet_alexnet.workdir.metrics_log import TEST_ERROR, VAL_ERROR

TRAIN_ERROR, STEP_SECONDS = "train/top1_error", "seconds/steps"


@dataclass(frozen=True)
class Metric:
    """A number of a run.

    Attributes:
        label: what it is, in words.
        unit: such as "%".
        sentence: says that it is larger for the arm {a} than for the arm {b}, by {by}, a number with its unit.
        read: the number of a complete run; None if its files do not have it.
        needs: the measurement from which it is read; empty: the run's own metrics.
    """

    label: str
    unit: str
    sentence: str
    read: Callable[[MeasuredRun], float | None]
    needs: str = ""

    @property
    def difference_unit(self) -> str:
        """Of a difference of two values: that of two errors in percent is in points."""
        return "points" if self.unit == "%" else self.unit


def _test_error(run: MeasuredRun) -> float | None:
    if not run.num_steps:
        return _reported(run, "test", "top1_error")
    return run.state.last(TEST_ERROR)


def _reported(run: MeasuredRun, measurement: str, *keys: str) -> float | None:
    value: Any = run.measured(measurement)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) else None


def epochs_to_train_error(run: MeasuredRun, error: float) -> float | None:
    """Epochs until the mean training error between two log lines is at most `error` percent; None if it never is."""
    lines = (line for line in run.state.lines if line.get(TRAIN_ERROR) is not None)
    return next((line["epoch"] for line in lines if line[TRAIN_ERROR] <= error), None)


def mean_train_error(run: MeasuredRun) -> float | None:
    """The mean over training of the training error: lower means faster convergence, for equal ends."""
    errors = [line[TRAIN_ERROR] for line in run.state.lines if line.get(TRAIN_ERROR) is not None]
    return fmean(errors) if errors else None


def _added_error(run: MeasuredRun) -> float | None:
    damaged, clean = (_reported(run, "robustness", *keys) for keys in (("mean_error",), ("clean", "top1_error")))
    return None if damaged is None or clean is None else damaged - clean


def _layers(run: MeasuredRun, step: int) -> list[dict[str, Any]]:
    """The signals of the layers of a run, in the order of the forward pass, without projections.

    Args:
        run: a run.
        step: 0 for the first of the measured steps, before training; -1 for the last.
    """
    values = run.measured("signals")
    if values is None:
        return []
    return [layer for layer in values["steps"][step]["layers"] if layer["index"] is not None]


def _log_gradient_ratio(run: MeasuredRun) -> float | None:
    norms = [layer["grad_norm"] for layer in _layers(run, 0)]
    if len(norms) < 2 or not norms[0] or not norms[-2]:
        return None
    return math.log10(norms[0] / norms[-2])  # the last convolution: behind it there is the classifier


def _mean_response(run: MeasuredRun) -> float | None:
    spreads = [layer["std"] for layer in _layers(run, -1)[:-1] if layer["std"] is not None]
    return fmean(spreads) if spreads else None


def _neighbor_error(run: MeasuredRun) -> float | None:
    values = run.measured("probe")
    return None if values is None else 100 - values["stages"][-1]["knn"]["accuracy"]


def _training_seconds(run: MeasuredRun) -> float | None:
    speed, batch_size = (_reported(run, "cost", key) for key in ("images_per_second", "batch_size"))
    return None if not speed or not batch_size else run.num_steps * batch_size / speed


def seconds_to_validation_error(run: MeasuredRun, error: float) -> float | None:
    """Seconds of training steps until a validation error is at most `error` percent; None if none ever is."""
    seconds = 0.0
    for line in run.state.lines:
        seconds += line.get(STEP_SECONDS) or 0.0
        if (now := line.get(VAL_ERROR)) is not None and now <= error:
            return seconds
    return None


def _cost(run: MeasuredRun, key: str, unit: float) -> float | None:
    value = _reported(run, "cost", key)
    return None if value is None else value / unit


METRICS: Mapping[str, Metric] = {
    "test_error": Metric("test error", "%", "{a} has {by} more test error than {b}", _test_error),
    "unseen_error": Metric(
        "error on photographs that were not trained on",  # those for tests, or if there are none, for validation
        "%",
        "{a} has {by} more error than {b}",
        lambda run: _reported(run, "unseen", "top1_error"),
        "unseen",
    ),
    "train_error": Metric(
        "training error",  # in evaluation mode, after the last step
        "%",
        "{a} has {by} more training error than {b}",
        lambda run: _reported(run, "training", "top1_error"),
        "training",
    ),
    "mean_train_error": Metric(
        "training error, averaged over training",
        "%",
        "the training error of {a}, averaged over training, is {by} higher than that of {b}",
        mean_train_error,
    ),
    "epochs_to_25": Metric(
        "time to 25 % training error",
        "epochs",
        "{a} takes {by} longer than {b} to reach a training error of 25 %",
        lambda run: epochs_to_train_error(run, 25.0),
    ),
    "calibration_error": Metric(
        "expected calibration error",
        "points",
        "{a} is worse calibrated than {b}, by {by}",
        lambda run: _reported(run, "test", "calibration", "expected_error"),
        "test",
    ),
    "corrupted_error": Metric(
        "test error, mean over corruptions",
        "%",
        "on corrupted images {a} has {by} more test error than {b}",
        lambda run: _reported(run, "robustness", "mean_error"),
        "robustness",
    ),
    "added_error": Metric(
        "error that corruptions add",
        "points",
        "corruptions cost {a} {by} more than {b}",
        _added_error,
        "robustness",
    ),
    "log_gradient_ratio": Metric(
        "gradient of the first convolution over that of the last, before training",
        "powers of ten",
        "the gradient of the first convolution over that of the last is {by} larger in {a} than in {b}",
        _log_gradient_ratio,
        "signals",
    ),
    "mean_response": Metric(
        "standard deviation of responses, mean over layers",
        "",
        "the responses of {a} have a standard deviation that is {by} larger than in {b}",
        _mean_response,
        "signals",
    ),
    "neighbor_error": Metric(
        "error of nearest neighbors in the last features",
        "%",
        "the nearest neighbors are wrong more often in {a} than in {b}, by {by}",
        _neighbor_error,
        "probe",
    ),
    "training_seconds": Metric(
        "time of the training steps", "s", "{a} takes {by} longer to train than {b}", _training_seconds, "cost"
    ),
    "images_per_second": Metric(
        "speed of training",
        "images/s",
        "{a} trains {by} faster than {b}",
        partial(_cost, key="images_per_second", unit=1),
        "cost",
    ),
    "seconds_to_25": Metric(
        "time to 25 % validation error",
        "s",
        "{a} takes {by} longer than {b} to reach a validation error of 25 %",
        lambda run: seconds_to_validation_error(run, 25.0),
    ),
    "exact_error": Metric(
        "test error with exact statistics of batch normalization",
        "%",
        "with exact statistics of batch normalization, {a} has {by} more test error than {b}",
        lambda run: _reported(run, "exact", "test", "after"),
        "exact",
    ),
    "parameters": Metric(
        "parameters",
        "thousand",
        "{a} has {by} more parameters than {b}",
        partial(_cost, key="parameters", unit=1e3),
        "cost",
    ),
    "multiply_adds": Metric(
        "multiply-adds of an image",
        "million",
        "{a} takes {by} more multiply-adds than {b}",
        partial(_cost, key="multiply_adds", unit=1e6),
        "cost",
    ),
    "memory": Metric(
        "memory of a training step",
        "MB",
        "{a} takes {by} more memory than {b}",
        partial(_cost, key="memory", unit=1e6),
        "cost",
    ),
}
COSTS = ("parameters", "multiply_adds", "memory", "training_seconds", "images_per_second")  # of every setting
