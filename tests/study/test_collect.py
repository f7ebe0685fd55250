"""The table and the CSV of a sweep, from metrics that the test writes."""

import csv
import json

import numpy as np
import pytest

from resnet_alexnet.study.collect import collect
from resnet_alexnet.study.points import read_sweep
from tests.support import sweeps


def write_run(folder, *errors: float | None, finished: bool = True) -> None:
    """A run with a validation error each ten steps, of 40."""
    folder.mkdir(parents=True)
    lines = [{"step": 10 * number, "val/top1_error": error} for number, error in enumerate(errors, start=1)]
    lines += [{"step": 40, "finished": True}] if finished else []
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def sweep(tmp_path):
    body = 'yield from ({"optim.momentum": m, "seed": s} for m in (0.5, 0.8, 0.9) for s in range(3))'
    return read_sweep(str(sweeps.write_sweep(tmp_path / "own.py", body)))


def test_the_table_has_mean_and_deviation_over_seeds_and_the_best_first(tmp_path, sweep):
    finals = {0.5: (30.0, 31.5, 34.0), 0.8: (20.0, 26.0, None)}
    for momentum, errors in finals.items():
        for seed, error in enumerate(errors):
            write_run(tmp_path / f"momentum={momentum},seed={seed}", 80, 60, 15.25, error, finished=error is not None)
    header, first, second, third, written = collect(sweep, tmp_path)
    assert header.split() == ["momentum", "runs", "error", "%", "dev", "lowest"]
    mean, deviation = np.mean([20, 26]), np.std([20, 26], ddof=1)
    assert first.split() == ["0.8", "2/3", f"{mean:.2f}", f"{deviation:.2f}", "15.25"]
    mean, deviation = np.mean(finals[0.5]), np.std(finals[0.5], ddof=1)
    assert second.split() == ["0.5", "3/3", f"{mean:.2f}", f"{deviation:.2f}", "15.25"]
    assert third.split() == ["0.9", "0/3", "not", "run", "-", "-"]
    assert written == f"written: {tmp_path} (runs.csv, table.txt, sweep.png)"
    with (tmp_path / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["0", "1", "2"] * 3
    assert [row["status"] for row in rows][3:7] == ["finished", "finished", "step 40 of 40", "not run"]
    assert rows[0]["validation_error"] == "30.0"
    assert (rows[0]["best_validation_error"], rows[0]["best_step"]) == ("15.25", "30")
    assert (rows[8]["validation_error"], rows[8]["test_error"]) == ("", "")


@pytest.mark.parametrize("end", ["diverged", "stuck"])
def test_a_setting_of_which_a_check_failed_comes_after_those_of_which_none_did(tmp_path, sweep, end):
    for momentum, error in ((0.5, 90.0), (0.8, 10.0)):
        for seed in range(3):
            write_run(tmp_path / f"momentum={momentum},seed={seed}", error)
    for name in ("momentum=0.8,seed=1", *(f"momentum=0.9,seed={seed}" for seed in range(3))):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps({"step": 7, end: True}) + "\n")
    _, first, second, third, _ = collect(sweep, tmp_path)
    assert first.split()[0] == "0.5"
    assert second.split()[:5] == ["0.8", "2/3", "10.00,", "1", end]
    assert third.split()[:6] == ["0.9", "0/3", end, "at", "step", "7"]
    with (tmp_path / "runs.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)][4] == f"{end} at step 7"


def test_the_table_fits_a_terminal(tmp_path):
    long = "a_module_with_a_long_name/" * 4
    body = f"""yield from ({{"finetune.frozen": (v,), "model.shortcut": s, "eval.every_steps": 5, "log.every_steps": e}}
        for v in ("{long}a", "{long}b") for s, e in (("projection", 4), ("identity", 1_000_000)))"""
    sweep = read_sweep(str(sweeps.write_sweep(tmp_path / "own.py", body)))
    write_run(tmp_path / sweep.points[0].name, 12.0)
    header, *lines, _ = collect(sweep, tmp_path)
    assert max(map(len, [header, *lines])) == 80
    assert header.split()[:3] == ["frozen", "shortcut", "every_steps"]
    assert lines[0].endswith("  1/1   12.00    -    12.00")
    assert len({line.split()[0] for line in lines}) == 2, "ends tell values apart"


def test_without_a_run_there_is_a_table_and_no_picture(tmp_path, sweep):
    (tmp_path / "empty").mkdir()
    assert collect(sweep, tmp_path / "empty")[-1].endswith("(runs.csv, table.txt)")
