"""A sweep from the command to its table and picture: four real runs, stopped on the way and continued."""

import csv
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.state import RunState, read_state
from resnet_alexnet.sweep import main
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import sweeps
from tests.support.processes import wait_until

GRID = 'yield from ({"optim.learning_rate": r, "batch_size": b} for r in (0.02, 0.1) for b in (8, 16))'
NAMES = [f"learning_rate={rate},batch_size={size}" for rate in (0.02, 0.1) for size in (8, 16)]
HELD, DONE, ALSO_HELD, WAITING = NAMES  # what they are when the sweep is stopped
pytestmark = pytest.mark.slow


class Swept:
    """A finished sweep, and what was seen on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workdir = folder, folder / "runs" / "rates"
        hold = sweeps.Hold(folder / "data", HELD, ALSO_HELD)
        self.data = hold.fields
        self.words = self.words_of("rates", GRID)
        self.commands = sweeps.call(*self.words, "--print")
        self.printed_wrote = (folder / "runs").exists()
        with sweeps.start(*self.words, "--jobs=2") as process:
            self.pid = process.pid
            try:
                wait_until(lambda: self.state(HELD).step == 10, lambda: HELD, sweeps.SECONDS)
                wait_until(lambda: self.state(ALSO_HELD).step == 10, lambda: ALSO_HELD, sweeps.SECONDS)
                self.second = sweeps.call(*self.words)
                process.send_signal(signal.SIGTERM)
                self.killed, _ = process.communicate(timeout=sweeps.SECONDS)
            finally:
                process.kill()
        self.code = process.returncode
        hold.release()
        self.done = (self.workdir / DONE / "metrics.jsonl").read_bytes()
        self.collected = sweeps.call(*self.words, "--collect")
        self.left = sweeps.call(*self.words, "--print")
        self.result = sweeps.call(*self.words, "--jobs=2")

    def words_of(self, name: str, body: str) -> list[str]:
        """The flags of a sweep over the same data in a folder beside the others."""
        sweep = sweeps.write_sweep(self.folder / f"{name}.py", body, **self.data)
        return [f"--sweep={sweep}", f"--workdir={self.folder / 'runs' / name}"]

    def state(self, name: str) -> RunState:
        return read_state(self.workdir / name)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return Swept(tmp_path_factory.mktemp("swept"))


def test_four_points_over_two_fields_end_in_a_table_and_a_picture(swept):
    code, output = swept.result
    assert code == 0, output
    rows = [line.split() for line in output.splitlines() if re.match(r"0\.\d+ +(8|16) ", line)]
    errors = {name: swept.state(name).error() for name in NAMES}
    assert len(rows) == 4
    assert [float(row[3]) for row in rows] == [round(error, 2) for error in sorted(errors.values())]
    with (swept.workdir / "runs.csv").open() as file:
        written = {Path(row["run"]).name: row for row in csv.DictReader(file)}
    assert {name: float(row["validation_error"]) for name, row in written.items()} == errors
    assert {row["status"] for row in written.values()} == {"finished"}
    assert written[NAMES[0]]["optim.learning_rate"] == "0.02"
    assert len({row["config"] for row in written.values()}) == 4
    assert (swept.workdir / "sweep.png").stat().st_size > 10_000
    assert (swept.workdir / "table.txt").read_text().splitlines()[0].split()[:2] == ["learning_rate", "batch_size"]


def test_no_run_sees_the_test_split(swept):
    for name in NAMES:
        assert json.loads((swept.workdir / name / "config.json").read_text())["eval"]["test"] == "never"
        assert b"test/" not in (swept.workdir / name / "metrics.jsonl").read_bytes()


def test_a_killed_sweep_saves_its_runs_and_shows_a_table_and_continues(swept):
    assert swept.code == 75
    *_, written, last = swept.killed.splitlines()
    assert last == "SIGTERM: 1 of 4 runs are done; run the same command again to continue"
    assert written.startswith(f"written: {swept.workdir} (")
    for output in (swept.killed, swept.collected[1]):
        assert re.search(r"^0\.02 +16 +1/1 +\d", output, re.MULTILINE)
        assert re.search(r"^0\.02 +8 +0/1 +step 10 of 40 ", output, re.MULTILINE)
        assert re.search(r"^0\.1 +8 +0/1 +step 10 of 40 ", output, re.MULTILINE)
        assert re.search(r"^0\.1 +16 +0/1 +not run ", output, re.MULTILINE)
    assert swept.collected[0] == 0
    logs = {name: (swept.workdir / name / "log.txt").read_text() for name in NAMES}
    assert {name: log.count("$ ") for name, log in logs.items()} == {HELD: 2, DONE: 1, ALSO_HELD: 2, WAITING: 1}
    assert (swept.workdir / DONE / "metrics.jsonl").read_bytes() == swept.done, "not run again"
    for name in (HELD, ALSO_HELD):
        assert "SIGTERM: saved a checkpoint at step 10; " in logs[name]
        assert "resumed at step 10" in logs[name]
    assert "2/4 done: " in swept.result[1]


def test_two_sweeps_in_one_workdir_are_refused_by_the_name_of_the_first(swept):
    code, output = swept.second
    assert code == 2
    assert re.fullmatch(
        rf"error: --workdir={swept.workdir} is in use by process {swept.pid} on \S+, since .*\n", output
    )


def test_the_printed_commands_are_those_that_ran(swept):
    code, output = swept.commands
    assert code == 0
    assert not swept.printed_wrote
    commands = dict(zip(NAMES, output.splitlines(), strict=True))
    for name, command in commands.items():
        assert (swept.workdir / name / "log.txt").read_text().splitlines()[0] == f"$ {command}"
    assert swept.left == (0, "".join(f"{command}\n" for name, command in commands.items() if name != DONE))


def test_an_equal_point_of_another_sweep_is_not_run_again_and_bad_points_are_named(swept):
    body = 'yield from ({"batch_size": b, "optim.learning_rate": 0.1} for b in (16, 100_000))'
    words = swept.words_of("other", body)
    workdir = swept.folder / "runs" / "other"
    code, output = sweeps.call(*words, "--jobs=2", "--test_winner")
    assert code == 1
    equal = swept.workdir / "learning_rate=0.1,batch_size=16"
    assert f"batch_size=16: taken from {equal}, a finished run with the same config" in output
    assert (workdir / "batch_size=16").resolve() == equal
    assert "batch_size=100000: failed (exit code 2)," in output
    assert re.search(r"^  error: .*100000", output, re.MULTILINE), "the end of its log"
    assert output.splitlines()[-1] == (
        "error: 1 of 2 runs failed, so the winner is not tested: batch_size=100000 (their log.txt says why; the same "
        "command tries them again)"
    )
    assert not (workdir / "winner.json").exists()
    assert re.search(r"^16 +1/1 +\d", output, re.MULTILINE)
    lines = read_metrics(equal / "metrics.jsonl")
    assert [line["step"] for line in lines if line.get("finished")] == [40]
    shutil.move(equal, swept.folder / "away")  # a link to a run that is gone is a point that is to be run
    try:
        _, output = sweeps.call(*words, "--collect")
        assert output.count("not run") == 2
    finally:
        shutil.move(swept.folder / "away", equal)


@pytest.fixture(scope="module")
def far(swept):
    """A sweep of a point that diverges and one of the other sweep, which is tested, twice: (folder, equal, outputs)."""
    body = 'yield from ({"optim.learning_rate": rate, "batch_size": 16} for rate in (1e30, 0.1))'
    words = swept.words_of("far", body)
    equal = swept.workdir / "learning_rate=0.1,batch_size=16"
    before = {path.name: path.read_bytes() for path in equal.iterdir() if path.is_file()}
    results = [sweeps.call(*words, "--test_winner") for _ in range(2)]
    assert {path.name: path.read_bytes() for path in equal.iterdir() if path.is_file()} == before
    return swept.folder / "runs" / "far", words, results


def test_a_point_that_diverges_is_a_result_and_keeps_no_other_from_being_tested(far):
    _, _, ((code, output), (code_again, again)) = far
    assert (code, code_again) == (0, 0), output + again
    assert re.search(r"^2/2 done: learning_rate=1e\+30: diverged at step \d+, ", output, re.MULTILINE)
    assert "is tried again" not in output
    assert re.search(r"^1e\+30 +0/1 +diverged at step \d+ ", output, re.MULTILINE)
    assert "done: " not in again, "nothing is run again"


def test_the_winner_is_tested_once_and_here_although_it_is_a_run_of_another_sweep(far, capsys):
    workdir, words, results = far
    best, other = "learning_rate=0.1", "learning_rate=1e+30"
    assert os.listdir(workdir / "tests") == [best]
    log = (workdir / "tests" / best / "log.txt").read_text()
    assert log.count("$ ") == 1, "the second time there is nothing to do"
    winner = json.loads((workdir / "winner.json").read_text())
    error = winner["test_errors"].pop(best)
    assert winner == {"runs": [best], "test_errors": {}}
    assert error == json.loads((workdir / "tests" / best / "report.json").read_text())["top1_error"]
    with (workdir / "runs.csv").open() as file:
        tested = {Path(row["run"]).name: row["test_error"] for row in csv.DictReader(file)}
    assert tested == {best: str(error), other: ""}
    for name in (best, other):
        assert b"test/" not in (workdir / name / "metrics.jsonl").read_bytes()
        assert json.loads((workdir / name / "config.json").read_text())["eval"]["test"] == "never"
    for _, output in results:
        assert f"best setting by validation error: {best}\ntest error {error:.2f} % (mean of 1 runs)\n" in output
    (workdir / "winner.json").write_text('{"runs": ["another"]}')
    with pytest.raises(InputError, match="says that another was tested before"):
        main([*words, "--test_winner"])
    assert re.search(r"^1e\+30 +0/1 +diverged ", capsys.readouterr().out, re.MULTILINE), "the table all the same"


def test_a_workdir_of_something_else_is_refused_and_nothing_is_written(tmp_path, swept):
    (tmp_path / "something").write_text("else")
    for workdir, message in {
        tmp_path: "is neither the folder of a sweep nor empty",
        tmp_path / "something": "cannot be used as a folder: Not a directory",
        swept.workdir / NAMES[0]: "is neither the folder of a sweep nor empty",
        tmp_path / "a[b]": "has a bracket in its path",
    }.items():
        with pytest.raises(InputError, match=message):
            main([swept.words[0], f"--workdir={workdir}"])
    assert os.listdir(tmp_path) == ["something"]


def test_a_run_of_another_config_under_the_name_of_a_point_is_refused(swept):
    with pytest.raises(InputError, match=r"has a run with another config: optim\.momentum is 0\.5, was 0\.9"):
        main([*swept.words, "--config.optim.momentum=0.5"])
