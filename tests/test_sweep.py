"""The flags of a sweep. Sweeps that run are in tests/study."""

import re

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.execution import Execution
from resnet_alexnet.study.sweep import Plan
from resnet_alexnet.sweep import main
from tests.support import sweeps

OF_RUNS = ("--jobs=2", "--gpus=0", "--retries=1", "--slurm", "--slurm_options=-n1", "--rungs=10", "--reuse=false")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rungs=40"], "allowed: rising steps below num_steps, 40"),
        (["--rungs=20,10"], "allowed: rising steps below num_steps, 40"),
        (["--rungs=10", "--config.schedule.name=cosine"], "depends on num_steps, by schedule.name='cosine'"),
        (["--gpus=0,1", "--jobs=3"], "--gpus is one GPU for each of the --jobs"),
        (["--gpus=0", "--slurm"], "--gpus is one GPU for each of the --jobs"),
        (["--gpus=,"], "an id is empty (allowed: ids of GPUs"),
        (["--print", "--collect", "--test_winner"], "--print and --collect and --test_winner exclude each other"),
        (["--slurm_options='"], "allowed: words as in a shell"),
        (["--slurm_options=-n1"], "--slurm_options is for --slurm: give it with --slurm"),
        (["--slurm_options=-n1", "--slurm=false"], "--slurm_options is for --slurm: give it with --slurm"),
        (["--reduction_factor=2"], "--reduction_factor is for --rungs: give it with --rungs"),
        (["--reuse", "--rungs=10"], "--reuse is not for --rungs"),
        (["--reuse=false", "--rungs=10"], "--reuse is not for --rungs"),
        (["--collect"], "no such folder"),
        (["--slurm"], "--slurm: there is no program sbatch here"),
        *(
            ([kind, word], f"{word.partition('=')[0]} is for runs, and {kind} starts none: leave one of them out")
            for kind in ("--print", "--collect")
            for word in OF_RUNS
        ),
    ],
)
def test_of_bad_flags_one_line_is_said(tmp_path, monkeypatch, words, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    sweep = sweeps.write_sweep(tmp_path / "own.py", 'yield {"seed": 1}')
    with pytest.raises(InputError, match=re.escape(message)):
        main([f"--sweep={sweep}", f"--workdir={tmp_path / 'new'}", *words])
    assert not (tmp_path / "new").exists()


def test_flags_reach_the_runs_and_what_is_not_given_has_its_default(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("resnet_alexnet.study.sweep.run_sweep", lambda *given: asked.append(given[2:]))
    sweep = sweeps.write_sweep(tmp_path / "own.py", 'yield {"seed": 1}')
    for words in (
        [],
        ["--gpus=0,1", "--retries=0", "--reuse=false", "--test_winner"],
        ["--slurm", "--slurm_options=-n1 -p 'a b'", "--jobs=3", "--rungs=10,20", "--reduction_factor=3"],
    ):
        main([f"--sweep={sweep}", f"--workdir={tmp_path / 'new'}", *words])
    assert asked == [
        (Execution(), Plan()),
        (Execution(jobs=2, gpus=("0", "1"), retries=0), Plan(reuse=False, test_winner=True)),
        (
            Execution(jobs=3, slurm=True, slurm_options=("-n1", "-p", "a b")),
            Plan(rungs=(10, 20), reduction_factor=3),
        ),
    ]
