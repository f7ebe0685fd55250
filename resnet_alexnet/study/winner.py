"""The test of a sweep's best setting, once."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json, write_json
from resnet_alexnet.study.collect import by_setting, final_errors, read_results
from resnet_alexnet.study.points import Point, Sweep
from resnet_alexnet.study.state import read_state

WINNER_FILE = "winner.json"


def test_winner(sweep: Sweep, workdir: Path, run: Callable[[Sequence[Point]], None]) -> Iterator[str]:
    """Tests the runs of the setting with the lowest mean of the last validation errors; yields lines about it.

    Which one it is, is written before it is tested: from then on no other setting of this sweep is.

    Args:
        sweep: whose runs are done.
        workdir: the folder of the sweep.
        run: runs points again, to their test.

    Raises:
        InputError: no run has a validation error, or another setting was tested before.
    """
    best = next(iter(by_setting(read_results(sweep, workdir)).values()))
    errors, names = final_errors(best), [result.point.name for result in best]
    if not errors:
        raise InputError(f"--test_winner: no run in {workdir} is finished with a validation error")
    file = workdir / WINNER_FILE
    if file.exists() and (before := read_json(file).get("runs")) != names:
        raise InputError(
            f"--test_winner: {', '.join(names)} is best now, but {file} says that {', '.join(before or ())} was tested "
            "before: choosing between test errors would make them too low (remove the file if that is what you want)"
        )
    write_json(file, {"runs": names})
    run([result.point for result in best if read_state(workdir / result.point.name).test_error() is None])
    tested = [read_state(workdir / name).test_error() for name in names]
    known = [error for error in tested if error is not None]
    yield f"best setting by validation error: {'; '.join(names)}"
    if known:
        deviation = f", deviation {stdev(known):.2f}" if len(known) > 1 else ""
        yield f"test error {fmean(known):.2f} % (mean of {len(known)} runs{deviation})"
