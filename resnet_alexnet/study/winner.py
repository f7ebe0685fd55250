"""The test of a sweep's best setting, once."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json, write_json
from resnet_alexnet.study.collect import by_setting, final_errors, read_results
from resnet_alexnet.study.points import Sweep, python_command
from resnet_alexnet.study.pool import Task
from resnet_alexnet.study.state import WINNER_FILE

TESTS_FOLDER = "tests"  # of the sweep; no point has this name
_REPORT_FILE = "report.json"  # of `resnet_alexnet.evaluate`


def test_winner(sweep: Sweep, workdir: Path, run: Callable[[Sequence[Task]], None]) -> Iterator[str]:
    """Tests the runs of the setting with the lowest mean of the last validation errors; yields lines about it.

    Which one it is, is written before it is tested: from then on no other setting of this sweep is. The test errors are
    added to that file. The run folders stay as they are: some may be those of another sweep.

    Args:
        sweep: whose runs are done.
        workdir: the folder of the sweep.
        run: does the tests that are not done.

    Raises:
        InputError: no run has a validation error, or another setting was tested before.
    """
    best = next(iter(by_setting(read_results(sweep, workdir)).values()))
    errors, names = final_errors(best), [result.point.name for result in best if result.is_complete]
    if not errors:
        raise InputError(f"--test_winner: no run in {workdir} is finished with a validation error")
    file = workdir / WINNER_FILE
    if file.exists() and (before := read_json(file).get("runs")) != names:
        raise InputError(
            f"--test_winner: {', '.join(names)} is best now, but {file} says that {', '.join(before or ())} was tested "
            "before: choosing between test errors would make them too low (remove the file if that is what you want)"
        )
    if not file.exists():
        write_json(file, {"runs": names})
    tests = [_create_test(workdir, name) for name in names]
    run(tests)
    tested = {test.name: read_json(*test.reports)["top1_error"] for test in tests if test.is_done()}
    write_json(file, {"runs": names, "test_errors": tested})
    yield f"best setting by validation error: {'; '.join(names)}"
    if tested:
        deviation = f", deviation {stdev(tested.values()):.2f}" if len(tested) > 1 else ""
        yield f"test error {fmean(tested.values()):.2f} % (mean of {len(tested)} runs{deviation})"


def _create_test(workdir: Path, name: str) -> Task:
    folder = workdir / TESTS_FOLDER / name
    words = [f"--workdir={workdir / name}", "--split=test", f"--output={folder}"]
    return Task(name, folder, tuple(python_command("evaluate", words)), 1, (folder / _REPORT_FILE,))
