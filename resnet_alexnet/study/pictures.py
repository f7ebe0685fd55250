"""The pictures that measurements of runs drew."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resnet_alexnet.study.findings import StudyFinding
from resnet_alexnet.study.measurements import FOLDER, MEASUREMENTS

_ABOUT = {
    "kernels": ("Kernels of the first layer", "A weight of 0 is gray; each kernel is scaled by itself."),
    "neighbors": (
        "Nearest neighbors",
        "Left an image, beside it those whose features are nearest, in order; a red frame marks another class.",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A picture of a run.

    Attributes:
        name: for a copy of it.
        title: what it shows.
        about: how to read it.
        path: the file.
    """

    name: str
    title: str
    about: str
    path: Path


def pictures(finding: StudyFinding) -> Iterator[Picture]:
    """The pictures that a study asks for, of the first finished run of each arm."""
    for measurement, (title, about) in _ABOUT.items():
        for number, arm in enumerate(finding.arms, start=1):
            folders = [seed.folder for seed in arm.finished if seed.folder is not None]
            for folder in folders[:1]:
                path = folder / FOLDER / measurement / MEASUREMENTS[measurement].report
                if measurement in finding.study.measurements and path.is_file():
                    name = f"{finding.study.name}_{measurement}_{number}.png"
                    yield Picture(name, f"{title}: {arm.arm.name}", about, path)
