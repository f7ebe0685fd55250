"""A study from the command to its numbers, with real runs: stopped on the way, continued, and measured."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from resnet_alexnet.cli.command import exit_code
from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.study import execute, measure
from resnet_alexnet.study.charts import charts
from resnet_alexnet.study.execute import ensembles, plan_studies, read_planned, run_studies
from resnet_alexnet.study.execution import Execution
from resnet_alexnet.study.findings import read_findings
from resnet_alexnet.study.metrics import METRICS
from resnet_alexnet.study.state import MeasuredRun
from tests.support import processes, sweeps
from tests.support.processes import wait_for
from tests.support.studies import TWO_ARMS, write_metrics, write_study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a study, and what the command said: first until it was stopped, then to its end."""
    folder = tmp_path_factory.mktemp("study")
    file, workdir = write_study(folder / "widths.py", TWO_ARMS.replace("seeds=2", "seeds=1")), folder / "runs"
    command = [sys.executable, "-m", "resnet_alexnet.study.run", f"--config={file}", "--scale=smoke", "--jobs=2"]
    environment = {**os.environ, "PYTHONPATH": str(processes.CHECKOUT), **sweeps.one_device()}
    options = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([*command, f"--workdir={workdir}"], **options) as process:
        try:
            wait_for(process, lambda: len(list(workdir.glob("runs/*/metrics.jsonl"))) >= 2, sweeps.SECONDS)
            process.send_signal(signal.SIGTERM)
            stopped, _ = process.communicate(timeout=sweeps.SECONDS)
        finally:
            process.kill()
    assert process.returncode == 75, stopped
    result = subprocess.run([*command, f"--workdir={workdir}"], **options, timeout=sweeps.SECONDS, check=False)
    assert result.returncode == 0, result.stdout
    return workdir, stopped, result.stdout


@pytest.mark.slow
def test_a_stopped_study_continues_with_the_same_command(done):
    _, stopped, output = done
    assert "run the same command again to continue" in stopped
    assert "runs that choose learning rates: 4" in output
    assert "runs that count: 2" in output


@pytest.mark.slow
def test_every_run_that_counts_has_its_numbers(done):
    workdir, _, _ = done
    (plan,) = read_planned(workdir).plans
    points = list(plan.counted(lambda point: execute.state_of(workdir, point)))
    assert len(points) == 2
    for point in points:
        run = MeasuredRun(workdir / "runs" / point.name, point.config.num_steps)
        assert run.is_complete
        for metric in ("test_error", "train_error", "mean_train_error", "images_per_second", "memory"):
            value = METRICS[metric].read(run)
            assert value is not None, metric
            assert value >= 0
        report = run.measured("training")
        assert report["images"] == 180  # each image of the training part once, without those held out


def test_what_is_the_same_for_all_seeds_is_measured_once(planned, tmp_path, monkeypatch):
    finish_all(planned, tmp_path / "runs")
    done = []
    monkeypatch.setattr(execute.Runner, "test", lambda self, tasks: done.extend(task.name for task in tasks))
    run_studies(planned, tmp_path / "runs", Execution())
    assert len(done) == len(set(done)) == 4  # two arms, two seeds
    names = {run: measured.split(", ") for run, measured in (name.split(": ") for name in done)}
    for run, measured in names.items():
        assert sorted(measured) == (["cost", "test", "training"] if "-seed=1-" in run else ["test", "training"])


@pytest.mark.slow
def test_measurements_of_a_run_are_done_once_in_one_process_and_failures_stop_no_other(done, tmp_path, capsys):
    workdir, _, _ = done
    source = next(path.parent.parent for path in workdir.glob("runs/*/measured/training"))
    run = shutil.copytree(source, tmp_path / "run")
    before = (run / "measured" / "training" / "report.json").read_bytes()
    shutil.rmtree(run / "measured" / "test")
    (run / "measured" / "test").touch()  # a file where the folder is to be
    capsys.readouterr()
    words = [f"--workdir={run}", "--measurements=training,test,kernels"]
    assert exit_code(lambda: measure.main(words)) == 2
    output, errors = capsys.readouterr()
    assert "measuring training" not in output
    assert (run / "measured" / "training" / "report.json").read_bytes() == before
    assert (run / "measured" / "kernels" / "kernels.png").exists()
    assert errors.splitlines()[-1] == "error: 1 of 3 measurements failed: test"
    assert str(run / "measured" / "test") in errors.splitlines()[0]


@pytest.mark.slow
def test_ensembles_average_the_members_of_a_seed(done):
    workdir, _, _ = done
    (plan,) = read_planned(workdir).plans
    ((name, seeds),) = ensembles(plan, workdir)
    assert (name, len(seeds)) == ("both", 1)
    for members in seeds:
        assert [point.config.model.width for point in members] == [4, 8]
        assert len({point.config.seed for point in members}) == 1
        folder = execute.ensemble_folder(workdir, members)
        assert (
            METRICS["test_error"].read(MeasuredRun(folder))
            == json.loads((folder / "report.json").read_text())["top1_error"]
        )


@pytest.mark.slow
def test_candidates_were_not_tested(done):
    workdir, _, _ = done
    (plan,) = read_planned(workdir).plans
    for point in plan.tuning():
        assert "test/top1_error" not in (workdir / "runs" / point.name / "metrics.jsonl").read_text()


@pytest.fixture
def planned(tmp_path):
    return plan_studies([str(write_study(tmp_path / "widths.py", TWO_ARMS))], "cpu")


def finish_all(planned, workdir) -> None:
    """Writes metrics for all runs, as if they had been done."""
    for point in planned.tuning():
        write_metrics(workdir / "runs" / point.name, steps=10, error=30.0)
    for point in planned.counted(lambda point: execute.state_of(workdir, point)):
        write_metrics(workdir / "runs" / point.name, steps=10, error=25.0)


def test_another_scale_or_other_overrides_are_refused(planned, tmp_path, monkeypatch):
    workdir = tmp_path / "runs"
    monkeypatch.setattr(execute, "python_command", lambda *_: ["/bin/true"])
    finish_all(planned, workdir)
    run_studies(planned, workdir, Execution())
    changes = (("gpu", [], "scale='cpu', not 'gpu'"), ("cpu", ["--config.num_steps=5"], "overrides="))
    for scale, overrides, message in changes:
        other = plan_studies(list(planned.configs), scale, overrides)
        with pytest.raises(InputError, match=message):
            run_studies(other, workdir, Execution())


def test_a_folder_of_something_else_is_refused(planned, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    with pytest.raises(InputError, match="neither the folder of studies nor empty"):
        run_studies(planned, tmp_path / "other", Execution())


def test_failed_measurements_are_named_and_the_rest_is_done(planned, tmp_path, monkeypatch):
    workdir = tmp_path / "runs"
    finish_all(planned, workdir)
    monkeypatch.setattr(execute, "python_command", lambda module, words: ["/bin/sh", "-c", "exit 1"])
    with pytest.raises(
        TrainingError, match=r"4 runs or measurements failed: .*: training, cost, test, .*: training, test, "
    ):
        run_studies(planned, workdir, Execution(retries=0))


def test_an_arm_of_which_every_candidate_failed_is_left_out(planned, tmp_path, monkeypatch):
    workdir = tmp_path / "runs"
    for point in planned.tuning():
        is_wide = point.config.model.width == 8
        write_metrics(
            workdir / "runs" / point.name,
            steps=10,
            **({"error": None, "end": "diverged"} if is_wide else {"error": 9.0}),
        )
    points = planned.counted(lambda point: execute.state_of(workdir, point))
    assert {point.config.model.width for point in points} == {4}


def test_a_damaged_list_of_studies_is_named(tmp_path):
    (tmp_path / "studies.json").write_text('{"studies": "all", "scale": "cpu"}')
    with pytest.raises(InputError, match=r"studies\.json is damaged"):
        read_planned(tmp_path)


@pytest.mark.nightly
def test_all_our_studies_run_at_the_smallest_scale(tmp_path):
    command = [sys.executable, "-m", "resnet_alexnet.study.run", "--config=all", "--scale=smoke", "--jobs=2"]
    environment = {**os.environ, "PYTHONPATH": str(processes.CHECKOUT), **sweeps.one_device()}
    result = subprocess.run(
        [*command, f"--workdir={tmp_path / 'all'}"], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    findings = read_findings(str(tmp_path / "all"))
    assert findings.problems == []
    for finding in findings.studies:
        assert all(seed.status == "finished" for arm in finding.arms for seed in arm.seeds), finding.study.name
        names = {chart.name for chart in charts(finding)}
        assert {"training_curves", "arms", "differences"} <= names or finding.study.name == "activation"
