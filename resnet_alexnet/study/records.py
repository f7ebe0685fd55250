"""The small files of a folder of studies, from which its report can be made again: no checkpoints and no logs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.execute import RUNS, STUDIES_FILE
from resnet_alexnet.study.measurements import ENSEMBLES, FOLDER, MEASUREMENTS, REPORT_FILE, SCORES_FILE
from resnet_alexnet.workdir.config import CONFIG_FILE
from resnet_alexnet.workdir.folder import ENVIRONMENT_FILE
from resnet_alexnet.workdir.metrics_log import METRICS_FILE

_OF_A_RUN = (
    *(CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE),
    *(f"{FOLDER}/{name}/{measurement.report}" for name, measurement in MEASUREMENTS.items()),
    f"{FOLDER}/unseen/{SCORES_FILE}",  # from which networks are recommended
)


def copy_records(workdir: Path, output: Path) -> int:
    """Copies the records of a folder of studies; returns how many files they are.

    Args:
        workdir: the folder.
        output: a folder that is new, empty, or has such a copy, whose files are replaced.

    Raises:
        InputError: `workdir` is not a folder of studies, or `output` holds something else or cannot be written.
    """
    if not (workdir / STUDIES_FILE).is_file():
        raise InputError(f"{workdir} is not a folder of studies: it has no {STUDIES_FILE}")
    if output.resolve() == workdir.resolve():
        raise InputError(f"--records={output} is the folder of the studies itself (allowed: another one)")
    try:
        if set(os.listdir(output) if output.exists() else ()) - {STUDIES_FILE, RUNS, ENSEMBLES}:
            raise InputError(f"--records={output} holds something else (allowed: a new folder, or records from before)")
        _check_runs(output)
        for name in (RUNS, ENSEMBLES):
            shutil.rmtree(output / name, ignore_errors=True)
        count = 0
        for file in _records(workdir):
            (output / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(workdir / file, output / file)
            count += 1
    except OSError as error:
        raise InputError(f"--records={output} cannot be written: {error.strerror}") from None
    return count


def _check_runs(output: Path) -> None:
    """Raises InputError if the folder has runs, not records of runs: these would be lost."""
    for run in (output / RUNS).glob("*"):
        for file in run.rglob("*"):
            if file.is_file() and str(file.relative_to(run)) not in _OF_A_RUN:
                raise InputError(
                    f"--records={output} has runs, not records: {file} would be lost (choose another folder)"
                )


def _records(workdir: Path) -> Iterator[Path]:
    """The files, as paths in the folder."""
    yield Path(STUDIES_FILE)
    for run in sorted((workdir / RUNS).glob("*")):
        yield from (run.relative_to(workdir) / name for name in _OF_A_RUN if (run / name).is_file())
    for report in sorted((workdir / ENSEMBLES).glob(f"*/{REPORT_FILE}")):
        yield report.relative_to(workdir)
