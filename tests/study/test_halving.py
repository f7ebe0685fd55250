"""Successive halving: who goes on, and two real runs of which one does."""

import json
from pathlib import Path

import pytest

from resnet_alexnet.study.halving import run_rungs
from resnet_alexnet.study.points import read_sweep
from resnet_alexnet.study.state import read_state
from tests.support import sweeps


@pytest.fixture
def sweep(tmp_path):
    body = 'yield from ({"optim.momentum": m, "seed": s} for m in (0.1, 0.2, 0.3, 0.4, 0.5) for s in (0, 1))'
    return read_sweep(str(sweeps.write_sweep(tmp_path / "own.py", body)))


class Runs:
    """Runs that only write what the test says."""

    def __init__(self, workdir: Path, errors: dict[str, float]) -> None:
        self.workdir, self.errors = workdir, errors
        self.calls: list[tuple[int, set[str]]] = []
        self.said: list[str] = []

    def run(self, points, num_steps: int) -> None:
        self.calls.append((num_steps, {point.name for point in points}))
        for name in {point.name for point in points} & self.errors.keys():
            (self.workdir / name).mkdir(exist_ok=True)
            line = {"step": num_steps, "val/top1_error": self.errors[name]}
            with (self.workdir / name / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")

    def rungs(self, sweep) -> None:
        run_rungs(sweep, self.workdir, [10, 20], reduction_factor=2, run=self.run, say=self.said.append)


def names(*momenta: float) -> set[str]:
    return {f"momentum={momentum},seed={seed}" for momentum in momenta for seed in (0, 1)}


def test_the_best_settings_go_on_by_their_mean_over_seeds(tmp_path, sweep):
    first = {f"momentum={m},seed=0": 10.0 * m for m in (0.1, 0.2, 0.3, 0.4, 0.5)}
    second = {f"momentum={m},seed=1": 10.0 for m in (0.1, 0.2, 0.3, 0.4)}
    errors = {**first, **second, "momentum=0.5,seed=1": 0.0}  # its mean is lowest
    runs = Runs(tmp_path, errors)
    runs.rungs(sweep)
    assert runs.calls == [
        (10, names(0.1, 0.2, 0.3, 0.4, 0.5)),
        (20, names(0.5, 0.1, 0.2)),
        (40, names(0.5, 0.1)),
    ]
    assert runs.said[1].startswith("step 20: 4 points go on; stopped early: momentum=0.2,seed=0; momentum=0.2,seed=1")


def test_a_setting_of_which_a_run_failed_does_not_go_on(tmp_path, sweep):
    errors = dict.fromkeys(names(0.1, 0.2, 0.3, 0.4, 0.5), 50.0) | dict.fromkeys(names(0.5), 1.0)
    del errors["momentum=0.5,seed=1"]
    runs = Runs(tmp_path, errors)
    runs.rungs(sweep)
    assert runs.calls[1] == (20, names(0.1, 0.2, 0.3)), "at equal means, in the sweep's order"


def test_started_again_it_decides_the_same_and_runs_what_is_left(tmp_path, sweep):
    errors = {f"momentum={m},seed={s}": m + s for m in (0.1, 0.2, 0.3, 0.4, 0.5) for s in (0, 1)}
    Runs(tmp_path, errors).rungs(sweep)
    again = Runs(tmp_path, {})
    again.rungs(sweep)
    assert again.calls == [(10, set()), (20, set()), (40, names(0.1, 0.2))]


@pytest.mark.slow
def test_of_two_runs_the_worse_is_stopped_early_and_the_other_goes_on(tmp_path):
    sweep = sweeps.write_sweep(tmp_path / "own.py", 'yield from ({"optim.learning_rate": r} for r in (1e-6, 0.05))')
    words = [f"--sweep={sweep}", f"--workdir={tmp_path / 'runs'}", "--jobs=2", "--rungs=10"]
    code, output = sweeps.call(*words)
    assert code == 0, output
    assert "step 10: 1 points go on; stopped early: learning_rate=1e-06" in output
    worse, better = (read_state(tmp_path / "runs" / f"learning_rate={rate}") for rate in ("1e-06", "0.05"))
    assert (worse.step, better.step, better.end) == (10, 40, "finished")
    assert "resumed at step 10" in (tmp_path / "runs" / "learning_rate=0.05" / "log.txt").read_text()
    assert "step 10 of 40" in output
