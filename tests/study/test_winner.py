"""The winner of a sweep: which runs are tested, and where. Tests that run are in test_sweep."""

import json

import pytest

from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.study import winner
from resnet_alexnet.study.execution import Execution
from resnet_alexnet.study.points import read_sweep
from resnet_alexnet.study.state import read_test_errors
from resnet_alexnet.study.sweep import Plan, run_sweep
from resnet_alexnet.study.winner import test_winner as run_winner
from resnet_alexnet.workdir.config import to_json
from tests.support import sweeps


@pytest.fixture
def sweep(tmp_path):
    """Of two settings with two seeds, the second is best; its second run diverged, and its first is a link."""
    body = 'yield from ({"optim.momentum": m, "seed": s} for m in (0.1, 0.2) for s in (0, 1))'
    sweep = read_sweep(str(sweeps.write_sweep(tmp_path / "own.py", body)))
    for momentum, seed, error in ((0.1, 0, None), (0.1, 1, None), (0.2, 0, 5.0), (0.2, 1, None)):
        lines = [{"step": 40, "val/top1_error": error}, {"step": 40, "finished": True}]
        if error is None:
            lines = [{"step": 7, "diverged": True}]
        folder = tmp_path / "runs" / f"momentum={momentum},seed={seed}"
        written = tmp_path / "other" if error else folder
        written.mkdir(parents=True)
        (written / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if error:
            folder.symlink_to(written)
    return sweep


def test_finished_runs_of_the_best_setting_are_tested_outside_their_folders(tmp_path, sweep):
    commands = []

    def run(tests) -> None:
        for test in tests:
            commands.append(test.command[2:])
            test.folder.mkdir(parents=True)
            (test.folder / "report.json").write_text('{"top1_error": 12.5}')

    workdir, name = tmp_path / "runs", "momentum=0.2,seed=0"
    lines = list(run_winner(sweep, workdir, run))
    words = [f"--workdir={workdir / name}", "--split=test", f"--output={workdir / 'tests' / name}"]
    assert commands == [("resnet_alexnet.evaluate", *words)]
    assert lines == [f"best setting by validation error: {name}", "test error 12.50 % (mean of 1 runs)"]
    assert read_test_errors(workdir) == {name: 12.5}
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["metrics.jsonl"]


def test_a_test_that_failed_leaves_the_name_of_the_winner_and_no_number(tmp_path, sweep):
    assert len(list(run_winner(sweep, tmp_path / "runs", lambda tests: None))) == 1
    assert json.loads((tmp_path / "runs" / "winner.json").read_text())["runs"] == ["momentum=0.2,seed=0"]
    assert read_test_errors(tmp_path / "runs") == {}


def test_without_a_finished_run_there_is_no_winner(tmp_path, sweep):
    (tmp_path / "other" / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="is finished with a validation error"):
        list(run_winner(sweep, tmp_path / "runs", lambda tests: None))


def run_all(sweep, workdir) -> None:
    """The sweep with the test of its winner; its runs are there already."""
    for point in sweep.points:
        (workdir / point.name / "config.json").write_text(json.dumps(to_json(point.config)))
    (workdir / "sweep.json").write_text(json.dumps({"sweep": sweep.name}))
    run_sweep(sweep, workdir, Execution(retries=0), Plan(test_winner=True))


def test_a_test_that_fails_is_not_said_to_be_a_run_and_the_table_is_shown(tmp_path, sweep, monkeypatch, capsys):
    monkeypatch.setattr(winner, "python_command", lambda *_: ["/bin/sh", "-c", "exit 1"])
    workdir, name = tmp_path / "runs", "momentum=0.2,seed=0"
    with pytest.raises(TrainingError) as error:
        run_all(sweep, workdir)
    assert str(error.value) == (
        f"all runs are done, but a test of the winner failed: {name} (log.txt in {workdir / 'tests'} says why; the "
        "same command tries it again)"
    )
    output = capsys.readouterr().out
    assert output.count("\nmomentum  runs ") == 1
    assert output.endswith(f"sweep.png)\nbest setting by validation error: {name}\n")


def test_the_results_are_collected_once_with_the_test_errors(tmp_path, sweep, monkeypatch, capsys):
    report = tmp_path / "runs" / "tests" / "momentum=0.2,seed=0" / "report.json"
    script = """echo '{"top1_error": 12.5}' >"$0" """
    monkeypatch.setattr(winner, "python_command", lambda *_: ["/bin/sh", "-c", script, str(report)])
    drawn = []
    monkeypatch.setattr("resnet_alexnet.plots.sweep.draw_sweep", lambda *_, **__: drawn.append("drawn"))
    run_all(sweep, tmp_path / "runs")
    assert drawn == ["drawn"]
    assert ",12.5," in (tmp_path / "runs" / "runs.csv").read_text()
    assert capsys.readouterr().out.endswith("\ntest error 12.50 % (mean of 1 runs)\n")
