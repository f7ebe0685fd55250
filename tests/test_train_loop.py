"""The loop against the device: how far the host runs ahead, and that nothing is read back between records."""

import dataclasses

import jax

from resnet_alexnet import build, train
from tests import tiny


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
