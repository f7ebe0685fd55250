"""A sweep from the command to its table and picture: six real runs, killed on the way and continued."""

import csv
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.state import read_state
from resnet_alexnet.sweep import main
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import sweeps
from tests.support.processes import wait_until

GRID = 'yield from ({"optim.learning_rate": r, "batch_size": b} for r in (0.02, 0.1, 0.2) for b in (8, 16))'
NAMES = [f"learning_rate={rate},batch_size={size}" for rate in (0.02, 0.1, 0.2) for size in (8, 16)]
pytestmark = pytest.mark.slow


class Swept:
    """A finished sweep, and what was seen on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workdir = folder, folder / "runs" / "rates"
        self.words = [f"--sweep={sweeps.write_sweep(folder / 'rates.py', GRID)}", f"--workdir={self.workdir}"]
        self.commands = sweeps.run(*self.words, "--print")
        self.printed_wrote = (folder / "runs").exists()
        with sweeps.start(*self.words, "--jobs=2") as process:
            self.pid = process.pid
            try:
                wait_until(lambda: sum(map(self.is_finished, NAMES)) >= 2, lambda: "two finished runs", sweeps.SECONDS)
                wait_until(lambda: any(map(self.is_under_way, NAMES)), lambda: "a run under way", sweeps.SECONDS)
                self.second = sweeps.run(*self.words)
                process.send_signal(signal.SIGTERM)
                self.killed, _ = process.communicate(timeout=sweeps.SECONDS)
            finally:
                process.kill()
        self.code = process.returncode
        self.finished = {name: self.metrics(name) for name in NAMES if self.is_finished(name)}
        self.collected = sweeps.run(*self.words, "--collect")
        self.left = sweeps.run(*self.words, "--print")[1].splitlines()
        self.result = sweeps.run(*self.words, "--jobs=2")

    def is_finished(self, name: str) -> bool:
        return read_state(self.workdir / name).finished

    def is_under_way(self, name: str) -> bool:
        return bool(read_state(self.workdir / name).lines) and not self.is_finished(name)

    def metrics(self, name: str) -> bytes:
        return (self.workdir / name / "metrics.jsonl").read_bytes()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return Swept(tmp_path_factory.mktemp("swept"))


def test_six_points_over_two_fields_end_in_a_table_and_a_picture(swept):
    code, output = swept.result
    assert code == 0, output
    rows = [line.split() for line in output.splitlines() if re.match(r"0\.\d+ +(8|16) ", line)]
    errors = {name: read_state(swept.workdir / name).error() for name in NAMES}
    assert len(rows) == 6
    assert [float(row[3]) for row in rows] == [round(error, 2) for error in sorted(errors.values())]
    with (swept.workdir / "runs.csv").open() as file:
        written = {Path(row["run"]).name: row for row in csv.DictReader(file)}
    assert {name: float(row["validation_error"]) for name, row in written.items()} == errors
    assert {row["status"] for row in written.values()} == {"finished"}
    assert written[NAMES[0]]["optim.learning_rate"] == "0.02"
    assert len({row["config"] for row in written.values()}) == 6
    assert (swept.workdir / "sweep.png").stat().st_size > 10_000
    assert (swept.workdir / "table.txt").read_text().splitlines()[0].split()[:2] == [
        "learning_rate",
        "batch_size",
    ]


def test_no_run_sees_the_test_split(swept):
    for name in NAMES:
        assert json.loads((swept.workdir / name / "config.json").read_text())["eval"]["test"] == "never"
        assert b"test/" not in swept.finished.get(name, b"")


def test_a_killed_sweep_saves_its_runs_and_continues(swept):
    assert swept.code == 75
    done = len(swept.finished)
    assert swept.killed.splitlines()[-1].startswith(f"SIGTERM: {done} of 6 runs are done; run the same command again")
    assert all(swept.metrics(name) == metrics for name, metrics in swept.finished.items()), "not run again"
    logs = {name: (swept.workdir / name / "log.txt").read_text() for name in NAMES}
    assert all(logs[name].count("$ ") == 1 for name in swept.finished)
    resumed = [name for name, log in logs.items() if log.count("$ ") == 2]
    assert 1 <= len(resumed) <= 2
    assert any("resumed at step " in logs[name] for name in resumed)
    assert all("SIGTERM: " in logs[name] for name in resumed if "resumed at step " in logs[name])
    assert f"{done + 1}/6 done: " in swept.result[1]


def test_the_results_so_far_can_be_collected(swept):
    code, output = swept.collected
    assert code == 0
    assert output.count("1/1") == len(swept.finished)
    assert "not run" in output
    assert re.search(r"step \d+ of 40", output)


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
    for name, command in zip(NAMES, output.splitlines(), strict=True):
        assert (swept.workdir / name / "log.txt").read_text().splitlines()[0] == f"$ {command}"
    assert swept.left == [
        command for name, command in zip(NAMES, output.splitlines(), strict=True) if name not in swept.finished
    ]


def test_an_equal_point_of_another_sweep_is_not_run_again_and_bad_points_are_named(swept):
    body = 'yield from ({"batch_size": b, "optim.learning_rate": 0.1} for b in (16, 100_000))'
    other = sweeps.write_sweep(swept.folder / "other.py", body)
    workdir = swept.workdir.parent / "other"
    code, output = sweeps.run(f"--sweep={other}", f"--workdir={workdir}", "--jobs=2")
    assert code == 1
    equal = swept.workdir / "learning_rate=0.1,batch_size=16"
    assert f"batch_size=16: taken from {equal}, a finished run with the same config" in output
    assert (workdir / "batch_size=16").resolve() == equal
    assert "batch_size=100000: failed (exit code 2)," in output
    assert re.search(r"^  error: .*100000", output, re.MULTILINE), "the end of its log"
    assert output.splitlines()[-1].startswith("error: 1 of 2 runs failed: batch_size=100000 (their log.txt says why")
    assert re.search(r"^16 +1/1 +\d", output, re.MULTILINE)
    lines = read_metrics(equal / "metrics.jsonl")
    assert [line["step"] for line in lines if line.get("finished")] == [40]
    shutil.move(equal, swept.folder / "away")  # a link to a run that is gone is a point that is to be run
    try:
        _, output = sweeps.run(f"--sweep={other}", f"--workdir={workdir}", "--collect")
        assert output.count("not run") == 2
    finally:
        shutil.move(swept.folder / "away", equal)


def test_a_point_that_diverges_is_a_result_and_a_winner_of_another_sweep_is_tested_here(swept):
    body = 'yield from ({"optim.learning_rate": rate, "batch_size": 16} for rate in (1e30, 0.1))'
    words = [
        f"--sweep={sweeps.write_sweep(swept.folder / 'far.py', body)}",
        f"--workdir={swept.folder / 'runs' / 'far'}",
    ]
    equal = swept.workdir / "learning_rate=0.1,batch_size=16"
    before = {path.name: path.read_bytes() for path in equal.iterdir() if path.is_file()}
    code, output = sweeps.run(*words, "--test_winner")
    assert code == 0, output
    assert re.search(r"1/1 done: learning_rate=1e\+30: diverged at step \d+, ", output.replace("2/2", "1/1"))
    assert "is tried again" not in output
    assert re.search(r"^1e\+30 +0/1 +diverged at step \d+ ", output, re.MULTILINE)
    assert "best setting by validation error: learning_rate=0.1\ntest error " in output
    assert {path.name: path.read_bytes() for path in equal.iterdir() if path.is_file()} == before
    code, again = sweeps.run(*words)
    assert code == 0, again
    assert "done: " not in again, "nothing is run again"


def test_the_winner_is_tested_once(swept):
    best = min(NAMES, key=lambda name: read_state(swept.workdir / name).error() or 0)
    outputs = [sweeps.run(*swept.words, "--test_winner") for _ in range(2)]
    assert os.listdir(swept.workdir / "tests") == [best]
    log = (swept.workdir / "tests" / best / "log.txt").read_text()
    assert log.count("$ ") == 1, "the second time there is nothing to do"
    winner = json.loads((swept.workdir / "winner.json").read_text())
    error = winner["test_errors"].pop(best)
    assert winner == {"runs": [best], "test_errors": {}}
    assert error == json.loads((swept.workdir / "tests" / best / "report.json").read_text())["top1_error"]
    with (swept.workdir / "runs.csv").open() as file:
        tested = {Path(row["run"]).name: row["test_error"] for row in csv.DictReader(file)}
    assert tested == {name: str(error) if name == best else "" for name in NAMES}
    assert not any(b"test/" in swept.metrics(name) for name in NAMES)
    assert json.loads((swept.workdir / best / "config.json").read_text())["eval"]["test"] == "never"
    for code, output in outputs:
        assert code == 0, output
        assert f"best setting by validation error: {best}\ntest error {error:.2f} % (mean of 1 runs)\n" in output
    (swept.workdir / "winner.json").write_text('{"runs": ["another"]}')
    with pytest.raises(InputError, match="says that another was tested before"):
        main([*swept.words, "--test_winner"])


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rungs=40"], "allowed: rising steps below num_steps, 40"),
        (["--rungs=20,10"], "allowed: rising steps below num_steps, 40"),
        (["--rungs=10", "--config.schedule.name=cosine"], "depends on num_steps, by schedule.name='cosine'"),
        (["--gpus=0,1", "--jobs=3"], "--gpus is one GPU for each of the --jobs"),
        (["--gpus=,"], "an id is empty (allowed: ids of GPUs"),
        (["--print", "--collect", "--test_winner"], "--print and --collect and --test_winner exclude each other"),
        (["--slurm_options='"], "allowed: words as in a shell"),
        (["--collect"], "no such folder"),
        (["--slurm"], "--slurm: there is no program sbatch here"),
    ],
)
def test_of_bad_flags_one_line_is_said(tmp_path, monkeypatch, words, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    sweep = sweeps.write_sweep(tmp_path / "own.py", 'yield {"seed": 1}')
    with pytest.raises(InputError, match=re.escape(message)):
        main([f"--sweep={sweep}", f"--workdir={tmp_path / 'new'}", *words])
    assert not (tmp_path / "new").exists()
