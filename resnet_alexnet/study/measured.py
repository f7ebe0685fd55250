"""What was measured of the runs of an arm, as points of curves: signals, probes, corruptions, calibration."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from resnet_alexnet.study.findings import ArmFinding

Point = tuple[float | str, float]  # x, y


@dataclass(frozen=True)
class Curves:
    """A kind of curve.

    Attributes:
        name: for files.
        title: what it shows.
        measurement: from which it is read.
        x, y: titles of the axes.
        points: of what was measured of a run.
    """

    name: str
    title: str
    measurement: str
    x: str
    y: str
    points: Callable[[Mapping[str, Any]], Iterator[Point]]

    def of(self, arm: ArmFinding) -> list[Point]:
        """The means over the runs of an arm, where all of them have a value; none if it was not measured."""
        values: dict[float | str, list[float]] = {}
        found = [run.measured(self.measurement) for run in arm.finished if run.num_steps]
        measured = [each for each in found if each is not None]
        for each in measured:
            for x, y in self.points(each):
                values.setdefault(x, []).append(y)
        return [(x, fmean(ys)) for x, ys in values.items() if len(ys) == len(measured)]


def _spreads(measured: Mapping[str, Any]) -> Iterator[Point]:
    yield from _layers(measured["steps"][-1]["layers"], "std")


def _gradients(measured: Mapping[str, Any]) -> Iterator[Point]:
    yield from _layers(measured["steps"][0]["layers"], "grad_norm")


def _layers(layers: Sequence[Mapping[str, Any]], key: str) -> Iterator[Point]:
    """By the depth of a layer as a share of that of the network, so that networks of any depth can be compared."""
    counted = [layer for layer in layers if layer["index"] is not None]
    for layer in counted:
        if layer[key]:
            yield round(layer["index"] / len(counted), 4), layer[key]


def _probes(measured: Mapping[str, Any]) -> Iterator[Point]:
    for number, stage in enumerate(measured["stages"]):
        yield round(number / max(len(measured["stages"]) - 1, 1), 4), 100 - stage["linear"]["accuracy"]


def _corruptions(measured: Mapping[str, Any]) -> Iterator[Point]:
    yield 0, measured["clean"]["top1_error"]
    every = [each["severities"] for each in measured["corruptions"].values()]
    for same in zip(*every, strict=True):
        yield same[0]["severity"], fmean(each["top1_error"] for each in same)


def _reliability(measured: Mapping[str, Any]) -> Iterator[Point]:
    bins = (measured.get("calibration") or {}).get("adaptive_bins", [])
    for each in bins:
        if each["images"]:
            yield round(each["confidence"], 2), each["accuracy"]


CURVES = (
    Curves("signals", "Responses of the layers", "signals", "depth", "standard deviation of responses", _spreads),
    Curves("gradients", "Gradients before training", "signals", "depth", "norm of the kernel's gradient", _gradients),
    Curves("probes", "Error of linear probes", "probe", "depth, from the stem to the last stage", "error, %", _probes),
    Curves("corruptions", "Errors on damaged images", "robustness", "severity of the damage", "error, %", _corruptions),
    Curves("reliability", "Calibration", "test", "confidence, %", "accuracy, %", _reliability),
)
