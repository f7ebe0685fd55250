"""What was measured of a run, as points of curves: signals, probes, corruptions, calibration."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

XY = tuple[float | str, float]  # x, y
_FEWEST_IMAGES = 10  # in a bin of a reliability diagram


@dataclass(frozen=True)
class Curve:
    """A kind of curve.

    Attributes:
        title: what it shows.
        measurement: from which it is read.
        x, y: titles of the axes.
        points: of what was measured of a run.
        about: what a reader must know to read it.
        log: whether the y axis is logarithmic.
        diagonal: whether there is a line of equal x and y.
        by_name: whether x is a name, and each has a row of its own.
    """

    title: str
    measurement: str
    x: str
    y: str
    points: Callable[[Mapping[str, Any]], Iterator[XY]]
    about: str = ""
    log: bool = False
    diagonal: bool = False
    by_name: bool = False


def _gradients_after(measured: Mapping[str, Any]) -> Iterator[XY]:
    yield from _layers(measured["steps"][-1]["layers"], "grad_norm")


def _ratios(measured: Mapping[str, Any]) -> Iterator[XY]:
    """The gradient of the first convolution over that of the last one, at each measured step."""
    for each in measured["steps"]:
        norms = [layer["grad_norm"] for layer in each["layers"] if layer["index"] is not None]
        if len(norms) > 1 and norms[0] and norms[-2]:
            yield each["step"], norms[0] / norms[-2]


def _spreads(measured: Mapping[str, Any]) -> Iterator[XY]:
    yield from _layers(measured["steps"][-1]["layers"], "std")


def _gradients(measured: Mapping[str, Any]) -> Iterator[XY]:
    yield from _layers(measured["steps"][0]["layers"], "grad_norm")


def _layers(layers: list[Mapping[str, Any]], key: str) -> Iterator[XY]:
    """By the depth of a layer as a share of that of the network, so that networks of any depth can be compared."""
    counted = [layer for layer in layers if layer["index"] is not None]
    for layer in counted:
        if layer[key]:
            yield round(100 * layer["index"] / len(counted), 2), layer[key]


def _probes(measured: Mapping[str, Any]) -> Iterator[XY]:
    yield from _stages(measured, "linear")


def _neighbors(measured: Mapping[str, Any]) -> Iterator[XY]:
    yield from _stages(measured, "knn")


def _stages(measured: Mapping[str, Any], probe: str) -> Iterator[XY]:
    stages = measured["stages"]
    for number, stage in enumerate(stages):
        yield round(100 * number / max(len(stages) - 1, 1), 2), stage[probe]["accuracy"]


def _severities(measured: Mapping[str, Any]) -> Iterator[XY]:
    yield 0, measured["clean"]["top1_error"]
    every = [each["severities"] for each in measured["corruptions"].values()]
    for same in zip(*every, strict=True):
        yield same[0]["severity"], sum(each["top1_error"] for each in same) / len(same)


def _corruptions(measured: Mapping[str, Any]) -> Iterator[XY]:
    yield "none", measured["clean"]["top1_error"]
    for name, each in measured["corruptions"].items():
        yield name, each["mean_error"]


def _reliability(measured: Mapping[str, Any]) -> Iterator[XY]:
    for each in (measured.get("calibration") or {}).get("bins", []):
        if each["images"] >= _FEWEST_IMAGES:
            yield round(50 * (each["low"] + each["high"]), 2), each["accuracy"]


_DEPTH = "depth in the network, %"
CURVES: Mapping[str, Curve] = {
    "gradients": Curve(
        "Gradients before training",
        "signals",
        _DEPTH,
        "norm of the kernel's gradient",
        _gradients,
        "A line that falls to the left is a gradient that vanishes on its way back to the first layers.",
        log=True,
    ),
    "gradient_ratios": Curve(
        "The gradient of the first convolution over that of the last",
        "signals",
        "training step",
        "ratio of the norms",
        _ratios,
        "Below 1, the first layers learn from a weaker gradient than the last.",
        log=True,
    ),
    "gradients_after": Curve(
        "Gradients after training", "signals", _DEPTH, "norm of the kernel's gradient", _gradients_after, log=True
    ),
    "responses": Curve(
        "Responses of the layers after training", "signals", _DEPTH, "standard deviation of responses", _spreads
    ),
    "probes": Curve(
        "What a linear classifier makes of the features",
        "probe",
        _DEPTH,
        "accuracy, %",
        _probes,
        "From the stem, 0 %, to the last features, 100 %.",
    ),
    "nearest": Curve(
        "What the nearest neighbors say of the class",
        "probe",
        _DEPTH,
        "accuracy, %",
        _neighbors,
        "From the stem, 0 %, to the last features, 100 %.",
    ),
    "severities": Curve(
        "Error on corrupted images",
        "robustness",
        "severity of the corruption",
        "test error, %",
        _severities,
        "Each point is the mean over the kinds of corruption; 0 is the images as they are.",
    ),
    "corruptions": Curve(
        "Error by kind of corruption",
        "robustness",
        "",
        "test error, mean over severities, %",
        _corruptions,
        by_name=True,
    ),
    "reliability": Curve(
        "Is the network right as often as it is confident?",
        "test",
        "confidence, %",
        "accuracy, %",
        _reliability,
        f"On the gray line it is. Bins with fewer than {_FEWEST_IMAGES} images are left out.",
        diagonal=True,
    ),
}
