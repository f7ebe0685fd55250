"""All numbers of recorded runs and studies as one table, for other programs."""

import csv
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write, read_json
from resnet_alexnet.study import tabulate
from resnet_alexnet.study.execute import STUDIES_FILE
from resnet_alexnet.study.findings import read_findings
from resnet_alexnet.study.results import read_result
from resnet_alexnet.workdir.config import CONFIG_FILE


def write_numbers(folders: Sequence[Path], file: Path) -> None:
    """Writes the numbers of run folders and folders of studies, with a header.

    Raises:
        InputError: a folder is neither, a run is not finished, or the file cannot be written.
    """
    rows = [tabulate.RESULTS_HEADER, *(row for folder in folders for row in _rows(folder))]
    try:
        with atomic_write(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened, lineterminator="\n").writerows(rows)
    except OSError as error:
        raise InputError(f"--csv={file} cannot be written: {error.strerror}") from None


def _rows(folder: Path) -> Iterator[Sequence[str]]:
    if (folder / STUDIES_FILE).is_file():
        yield from tabulate.results(read_findings(glob.escape(str(folder))))
        return
    result, config = read_result(folder), read_json(folder / CONFIG_FILE)
    start = ("", "", folder.name, str(config["seed"]), f"{config['optim']['learning_rate']:g}", "finished")
    for metric, unit, value in (
        ("test_error", "%", result.test_error),
        ("epochs", "", result.epochs),
        ("training_seconds", "s", result.seconds),
    ):
        yield *start, metric, unit, f"{value:.6g}", folder.name
