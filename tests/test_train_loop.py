"""The loop against the device: how far the host runs ahead, and that nothing is read back between records."""

import dataclasses

import jax

from resnet_alexnet import build, train
from tests import tiny
from tests.processes import saved_leaves


class Watched:
    """Stands in for a step's result and notes when the loop waits for it."""

    def __init__(self, step, dispatched, waits):
        self._step, self._dispatched, self._waits = step, dispatched, waits

    def block_until_ready(self):
        self._waits.append((self._step, len(self._dispatched)))


def test_the_host_waits_only_for_steps_long_dispatched_and_reads_only_at_records(tmp_path, monkeypatch):
    every = 15
    config = tiny.config(num_steps=30, log__every_steps=every, eval__every_steps=every, checkpoint__every_steps=every)
    experiment = build.create_experiment(config, jax.devices()[:1])
    dispatched, waits, reads = [], [], []

    def train_chunk(state, data, chunk):
        state, _ = experiment.train_chunk(state, data, chunk)
        dispatched.append(None)
        return state, Watched(len(dispatched), dispatched, waits)

    def check_finite(self, state):
        reads.append(len(dispatched))

    watched = dataclasses.replace(experiment, train_chunk=train_chunk)
    monkeypatch.setattr(build, "create_experiment", lambda config: watched)
    monkeypatch.setattr(train._Run, "_check_finite", check_finite)
    train.train_and_evaluate(config, tmp_path / "run")
    assert len(waits) == 30 - train.STEPS_IN_FLIGHT
    assert all(sent - step == train.STEPS_IN_FLIGHT for step, sent in waits)
    assert reads == [every, 2 * every]


def test_the_evaluation_that_only_ends_a_run_does_not_step_the_plateau(tmp_path):
    fields = {"schedule__name": "plateau", "schedule__patience": 1, "eval__every_steps": 4, "log__every_steps": 3}

    def counted(num_steps, workdir):
        config = tiny.config(num_steps=num_steps, **fields)
        train.train_and_evaluate(config, workdir)
        leaves = saved_leaves(workdir, config)
        return {name: leaf.tobytes() for name, leaf in leaves.items() if name != "best_error"}

    counted(6, tmp_path / "extended")
    assert counted(10, tmp_path / "extended") == counted(10, tmp_path / "straight")


def test_a_finished_run_whose_record_is_gone_is_finished_again(tmp_path):
    config = tiny.config(num_steps=2)
    train.train_and_evaluate(config, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    train.train_and_evaluate(config, tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == '{"step": 2, "finished": true}\n'
