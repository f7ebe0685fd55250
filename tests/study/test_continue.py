"""Which runs a sweep takes over from before, from files that the test writes."""

import json

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.points import read_sweep
from resnet_alexnet.study.sweep import _reuse, check_sweep_folder
from resnet_alexnet.workdir.config import to_json
from tests.support import sweeps


def write_run(folder, point, *lengths: int | None) -> None:
    """A finished run of a point, started once with each num_steps."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(to_json(point.config)))
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


def test_a_point_with_a_cosine_is_not_continued_with_another_num_steps(tmp_path):
    workdir = tmp_path / "runs"
    sweep = read(tmp_path, schedule__name="cosine")
    write_run(workdir / "seed=1", sweep.points[0], 40)
    (workdir / "sweep.json").write_text(json.dumps({"sweep": "own", "config": "default", "runs": {}}))
    check_sweep_folder(sweep, workdir)
    with pytest.raises(InputError, match=r"num_steps=80, but the run in .*seed=1 began with 40: by schedule\.name"):
        check_sweep_folder(read(tmp_path, schedule__name="cosine", num_steps=80), workdir)
    check_sweep_folder(sweep, workdir)


def test_the_folder_of_another_sweep_is_refused_by_its_name(tmp_path):
    workdir = tmp_path / "runs"
    workdir.mkdir()
    (workdir / "sweep.json").write_text('{"sweep": "rates"}')
    with pytest.raises(InputError, match="is the folder of the sweep 'rates', not of 'own'"):
        check_sweep_folder(read(tmp_path), workdir)
