"""What is measured of a run once it is done: commands that write to a folder `measured` in its run folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from resnet_alexnet.files import read_json
from resnet_alexnet.study.points import python_command
from resnet_alexnet.study.pool import Task
from resnet_alexnet.study.state import RunState, read_state

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


def create_measurements(names: Sequence[str], run: Path) -> Task:
    """The task that measures a run, in one process: to start one takes longer than most measurements of small runs."""
    command = python_command("study.measure", [f"--workdir={run}", f"--measurements={','.join(names)}"])
    reports = tuple(measurement_report(name, run) for name in names)
    return Task(f"{run.name}: {', '.join(names)}", run / FOLDER, tuple(command), 1, reports)


def create_ensemble(members: Sequence[Path], folder: Path) -> Task:
    """The task that averages the probabilities of runs on the test split; each has the measurement "test"."""
    scores = ",".join(str(run / FOLDER / "test" / SCORES_FILE) for run in members)
    words = [f"--from={scores}", f"--output={folder}"]
    return Task(folder.name, folder, tuple(python_command("evaluate", words)), 1, (folder / REPORT_FILE,))


@dataclass(frozen=True)
class MeasuredRun:
    """A run folder, or the folder of an ensemble, as a source of numbers. All are read from its files.

    Attributes:
        path: the folder.
        num_steps: of a run, how many steps it was to do; 0: an ensemble.
    """

    path: Path
    num_steps: int = 0

    @cached_property
    def state(self) -> RunState:
        """How far it is; of an ensemble nothing."""
        return read_state(self.path)

    @property
    def is_complete(self) -> bool:
        """Whether a run has done all its steps, or an ensemble was evaluated."""
        return self.state.reached(self.num_steps) if self.num_steps else (self.path / REPORT_FILE).exists()

    def measured(self, name: str) -> dict[str, Any] | None:
        """The JSON that a measurement wrote; None if there is none.

        Raises:
            InputError: the file is damaged.
        """
        file = measurement_report(name, self.path) if self.num_steps else self.path / REPORT_FILE
        return read_json(file) if file.exists() else None
