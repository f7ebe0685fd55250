"""The table of results, computed from the files of finished runs."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json
from resnet_alexnet.study import papers
from resnet_alexnet.study.tables import Rows, read_document, replace_region, to_markdown
from resnet_alexnet.workdir.config import CONFIG_FILE
from resnet_alexnet.workdir.goodput import format_duration
from resnet_alexnet.workdir.metrics_log import METRICS_FILE, read_metrics

MARK = "results"  # of README.md
HEADER = ("run", "network", "training images", "epochs", "test error", "published", "training time", "hardware")


@dataclass(frozen=True)
class Result:
    """The result of a finished run.

    Attributes:
        model: the name of the network.
        dataset: the name of the data set.
        train_images: images per epoch.
        epochs: epochs trained.
        test_error: top-1 error in percent, after the last step.
        seconds: all training images divided by the median throughput, so without compilation and evaluation.
        hardware: the devices that it ran on.
    """

    model: str
    dataset: str
    train_images: int
    epochs: float
    test_error: float
    seconds: float
    hardware: str


def read_result(folder: Path) -> Result:
    """Reads the result of the run in `folder`.

    Raises:
        InputError: a file is missing or not JSON, or the run is not finished or was not tested.
    """
    config, environment = read_json(folder / CONFIG_FILE), read_json(folder / "environment.json")
    lines = read_metrics(folder / METRICS_FILE)
    tests = [line for line in lines if "test/top1_error" in line]
    throughputs = [line["images_per_second"] for line in lines if line.get("images_per_second")]
    if not (lines and lines[-1].get("finished") and tests and throughputs):
        raise InputError(
            f"{folder / METRICS_FILE} has no result (allowed: a finished run with a test error and images_per_second)"
        )
    images = tests[-1]["step"] * config["batch_size"]
    return Result(
        model=config["model"]["name"],
        dataset=config["dataset"]["name"],
        train_images=round(images / tests[-1]["epoch"]),
        epochs=tests[-1]["epoch"],
        test_error=tests[-1]["test/top1_error"],
        seconds=images / statistics.median(throughputs),
        hardware=_hardware(environment),
    )


def rows(results: dict[str, Result]) -> Rows:
    """The table of the results; the keys are the names of the runs."""
    return [HEADER, *((name, *_cells(result)) for name, result in results.items())]


def _cells(result: Result) -> tuple[str, ...]:
    """A row of the table, behind the run."""
    published = papers.find(model=result.model, data=result.dataset, quantity="test error", options="")
    return (
        f"{result.model}, {result.dataset}",
        f"{result.train_images:,}",
        f"{result.epochs:.3g}",
        f"{result.test_error:.2f} %",
        ", ".join(number.show() for number in published) or "-",
        format_duration(result.seconds),
        result.hardware,
    )


def update(readme: Path, folders: Sequence[Path]) -> str:
    """The text of `readme` with the table of `folders` between its two marks.

    Raises:
        InputError: the marks are missing, or a result cannot be read.
    """
    links = (f"[{folder.name}]({os.path.relpath(folder, readme.parent)})" for folder in folders)
    results = {link: read_result(folder) for link, folder in zip(links, folders, strict=True)}
    return replace_region(read_document(readme), MARK, to_markdown(rows(results)), path=readme)


def _hardware(environment: dict[str, Any]) -> str:
    for later in environment.get("resumed_on", []):
        if later["devices"] != environment["devices"] or later["cpu_count"] != environment["cpu_count"]:
            raise InputError("a run was resumed on other hardware (allowed: runs on the same hardware throughout)")
    if environment["backend"] == "cpu":
        return f"{environment['cpu_count']} CPU cores"
    return f"{len(environment['devices'])} x {environment['devices'][0]}"
