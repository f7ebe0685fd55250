"""Which runs a sweep takes over from before, and what it leaves, from files that the test writes."""

import errno
import io
import json

import pytest

from resnet_alexnet.errors import InputError, InterruptedRunError
from resnet_alexnet.study.execution import Execution
from resnet_alexnet.study.points import read_sweep
from resnet_alexnet.study.sweep import Plan, _reuse, check_sweep_folder, run_sweep
from resnet_alexnet.workdir.config import load_config, to_json
from tests.support import sweeps


def write_run(folder, point, *lengths: int | None, without: str = "") -> None:
    """A finished run of a point, started once with each num_steps, from before a field or group `without` existed."""
    folder.mkdir(parents=True)
    config = to_json(point.config)
    group, _, field = without.rpartition(".")
    (config[group] if group else config).pop(field, None)
    (folder / "config.json").write_text(json.dumps(config))
    starts = [{"step": 0, "start": 1, **({"num_steps": length} if length else {})} for length in lengths]
    lines = [*starts, {"step": 40, "val/top1_error": 5.0}, {"step": 40, "finished": True}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def read(tmp_path, body='yield {"seed": 1}', **common):
    return read_sweep(str(sweeps.write_sweep(tmp_path / "own.py", body, **common)))


@pytest.mark.parametrize(
    ("schedule", "lengths", "is_taken"),
    [
        ("cosine", (40,), True),
        ("cosine", (40, 40), True),
        ("cosine", (20, 40), False),
        ("cosine", (None,), False),  # of a version that did not write it
        ("constant", (20, 40), True),
    ],
)
def test_an_extended_run_is_taken_only_if_its_learning_rate_does_not_depend_on_num_steps(
    tmp_path, schedule, lengths, is_taken
):
    sweep = read(tmp_path, schedule__name=schedule)
    write_run(tmp_path / "other", sweep.points[0], *lengths)
    (tmp_path / "new").mkdir()
    assert len(list(_reuse(sweep, tmp_path / "new"))) == is_taken
    assert (tmp_path / "new" / "seed=1").exists() == is_taken


@pytest.mark.parametrize("younger", ["guard", "optim.ema_decay"])
def test_a_run_from_before_a_field_existed_is_taken_if_its_default_is_meant(tmp_path, younger):
    sweep = read(tmp_path)
    write_run(tmp_path / "other", sweep.points[0], 40, without=younger)
    (tmp_path / "new").mkdir()
    assert len(list(_reuse(sweep, tmp_path / "new"))) == 1


def test_a_point_with_a_cosine_is_not_continued_with_another_num_steps(tmp_path):
    workdir = tmp_path / "runs"
    sweep = read(tmp_path, schedule__name="cosine")
    write_run(workdir / "seed=1", sweep.points[0], 40)
    (workdir / "sweep.json").write_text(json.dumps({"sweep": "own", "config": "default", "runs": {}}))
    check_sweep_folder(sweep, workdir)
    with pytest.raises(InputError, match=r"num_steps=80, but the run in .*seed=1 began with 40: by schedule\.name"):
        check_sweep_folder(read(tmp_path, schedule__name="cosine", num_steps=80), workdir)
    check_sweep_folder(sweep, workdir)


def test_a_run_whose_config_says_no_num_steps_had_that_of_the_default(tmp_path):
    workdir = tmp_path / "runs"
    sweep = read(tmp_path, schedule__name="cosine")
    write_run(workdir / "seed=1", sweep.points[0], without="num_steps")
    (workdir / "sweep.json").write_text('{"sweep": "own"}')
    with pytest.raises(InputError, match=rf"began with {load_config('default').num_steps}: by schedule\.name"):
        check_sweep_folder(sweep, workdir)


def test_the_folder_of_another_sweep_is_refused_by_its_name(tmp_path):
    workdir = tmp_path / "runs"
    workdir.mkdir()
    (workdir / "sweep.json").write_text('{"sweep": "rates"}')
    with pytest.raises(InputError, match="is the folder of the sweep 'rates', not of 'own'"):
        check_sweep_folder(read(tmp_path), workdir)


class Gone(io.StringIO):
    """The output to a terminal that is gone."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_signal_is_the_end_of_a_sweep_also_where_its_results_cannot_be_shown(tmp_path, monkeypatch):
    def run_pool(*_, **__):
        raise InterruptedRunError("SIGHUP", 75)

    monkeypatch.setattr("resnet_alexnet.study.runner.run_pool", run_pool)
    monkeypatch.setattr("sys.stdout", Gone())
    with pytest.raises(InterruptedRunError, match=r"^SIGHUP$"):
        run_sweep(read(tmp_path), tmp_path / "runs", Execution(), Plan())
    assert "not run" in (tmp_path / "runs" / "table.txt").read_text()
