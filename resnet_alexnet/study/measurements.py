"""What is measured of a run once it is done: commands that write to a folder `measured` in its run folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "measured"  # in a run folder
ENSEMBLES = "ensembles"  # in the folder of a study
SCORES_FILE, REPORT_FILE = "scores.npz", "report.json"  # of `resnet_alexnet.evaluate`


@dataclass(frozen=True)
class Measurement:
    """A command on a run folder.

    Attributes:
        module: of the package.
        words: its flags, besides --workdir and --output; {folder} is the folder of the measurement.
        file: what --output names, in the folder of the measurement; empty: that folder, and `report` is in it.
        report: the file whose existence says that it is done.
        once: whether it is of the first complete run of an arm alone, since others would say the same.
    """

    module: str
    words: Sequence[str] = ()
    file: str = ""
    report: str = REPORT_FILE
    once: bool = False


MEASUREMENTS: Mapping[str, Measurement] = {
    # The training error in evaluation mode: with running statistics, without augmentation and dropout
    "training": Measurement("evaluate", ("--split=train",)),
    "test": Measurement("evaluate", ("--split=test",)),
    "unseen": Measurement("evaluate"),  # on the test split, or if there is none, on that for validation
    "signals": Measurement("signals", (), "signals.json", "signals.json"),
    "probe": Measurement("probe", (), "probe.json", "probe.json"),
    "robustness": Measurement("robustness", (), "robustness.json", "robustness.json"),
    "exact": Measurement("recalibrate", ("--report={folder}/report.json",), "exact.safetensors"),
    "kernels": Measurement("kernels", (), "kernels.png", "kernels.png", once=True),
    "neighbors": Measurement(
        "features", ("--neighbors={folder}/neighbors.png",), "features.npz", "neighbors.png", once=True
    ),
    "cost": Measurement("cost", (), "cost.json", "cost.json", once=True),
}


def measurement_folder(name: str, run: Path) -> Path:
    """Where a measurement of a run writes."""
    return run / FOLDER / name


def measurement_report(name: str, run: Path) -> Path:
    """The file that says that a measurement of a run is done."""
    return measurement_folder(name, run) / MEASUREMENTS[name].report


def measurement_words(name: str, run: Path) -> list[str]:
    """The flags of the command that does a measurement of a run."""
    what, folder = MEASUREMENTS[name], measurement_folder(name, run)
    own = [word.replace("{folder}", str(folder)) for word in what.words]
    return [f"--workdir={run}", *own, f"--output={folder / what.file}"]
