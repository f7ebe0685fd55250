"""The loop against the device: how far the host runs ahead, and that nothing is read back between log lines."""

import dataclasses
import time

import jax
import numpy as np
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.train import loop
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.start import check_same_data, checkpoint_metadata
from resnet_alexnet.train.throughput import STEPS_IN_FLIGHT_ON_CPU
from tests.support import tiny
from tests.support.processes import log_lines, saved_leaves


class Watched:
    """Stands in for a step's result on a slow device: it is there only when the host has run ahead as far as it may."""

    def __init__(self, step, dispatched, ahead, every):
        self._step, self._dispatched, self._ahead, self._every = step, dispatched, ahead, every

    def block_until_ready(self):
        deadline = time.monotonic() + 60
        while len(self._dispatched) < self._step + STEPS_IN_FLIGHT_ON_CPU - 1 and len(self._dispatched) % self._every:
            assert time.monotonic() < deadline, "the host waits for a step that it has just dispatched"
            time.sleep(0.001)
        self._ahead.append(len(self._dispatched) - self._step)


def test_the_host_waits_only_for_steps_long_dispatched(tmp_path, monkeypatch):
    every = 15
    config = tiny.config(num_steps=30, log__every_steps=every, eval__every_steps=every, checkpoint__every_steps=every)
    experiment = create_experiment(config, jax.devices()[:1])
    dispatched, ahead = [], []

    def train_chunk(state, data, chunk):
        state, _ = experiment.steps.train_chunk(state, data, chunk)
        dispatched.append(None)
        return state, Watched(len(dispatched), dispatched, ahead, every)

    watched = dataclasses.replace(experiment, steps=dataclasses.replace(experiment.steps, train_chunk=train_chunk))
    monkeypatch.setattr(loop, "create_experiment", lambda *_, **__: watched)
    loop.train_and_evaluate(config, tmp_path / "run")
    assert len(ahead) == 30
    assert max(ahead) == STEPS_IN_FLIGHT_ON_CPU - 1


@pytest.mark.parametrize("where", ["between log lines", "at log lines"])
def test_between_log_lines_nothing_but_batches_is_transferred(tmp_path, monkeypatch, where):
    """On a CPU the guard sees implicit transfers to the device, not reads: device memory is the host's."""
    config = tiny.config(num_steps=4, log__every_steps=2, eval__every_steps=2, checkpoint__every_steps=2)
    experiment = create_experiment(config, jax.devices()[:1])

    def train_chunk(state, data, chunk):
        state, step = experiment.steps.train_chunk(state, data, chunk)
        return state, step + np.int32(0) if where == "between log lines" else step

    def eval_step(params, batch_stats, batch):
        return jax.tree.map(lambda x: x + np.float32(0), experiment.steps.eval_step(params, batch_stats, batch))

    steps = dataclasses.replace(experiment.steps, train_chunk=train_chunk, eval_step=eval_step)
    monkeypatch.setattr(loop, "create_experiment", lambda *_, **__: dataclasses.replace(experiment, steps=steps))
    if where == "at log lines":
        loop.train_and_evaluate(config, tmp_path / "run")
    else:
        with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
            loop.train_and_evaluate(config, tmp_path / "run")


def test_a_trace_of_some_steps_is_recorded_where_it_is_asked_for(tmp_path):
    config = tiny.config(num_steps=8, eval__every_steps=0, checkpoint__every_steps=0)
    loop.train_and_evaluate(config, tmp_path / "run", profile_calls=2)
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))


def test_the_evaluation_that_only_ends_a_run_does_not_step_the_plateau(tmp_path):
    fields = {"schedule__name": "plateau", "schedule__patience": 1, "eval__every_steps": 4, "log__every_steps": 3}

    def counted(num_steps, workdir):
        config = tiny.config(num_steps=num_steps, **fields)
        loop.train_and_evaluate(config, workdir)
        leaves = saved_leaves(workdir, config)
        return {name: leaf.tobytes() for name, leaf in leaves.items() if name != "best_error"}

    counted(6, tmp_path / "extended")
    assert counted(10, tmp_path / "extended") == counted(10, tmp_path / "straight")


def test_a_finished_run_whose_record_is_gone_is_finished_again(tmp_path):
    config = tiny.config(num_steps=2)
    loop.train_and_evaluate(config, tmp_path / "run")
    before = log_lines(tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    loop.train_and_evaluate(config, tmp_path / "run")
    assert log_lines(tmp_path / "run") == [line for line in before if "train/loss" not in line]


def test_a_run_with_averages_and_mixing_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    fields = {
        "schedule__name": "constant",
        "augment__mixup": 0.2,
        "augment__cutmix": 1.0,
        "optim__ema_decay": 0.9,
        "optim__clip_norm": 1.0,
        "eval__every_steps": 3,
        "checkpoint__every_steps": 3,
    }
    config = tiny.config(num_steps=7, **fields)
    experiment = create_experiment(config, jax.devices()[:1])
    monkeypatch.setattr(loop, "create_experiment", lambda *_, **__: experiment)
    for num_steps, workdir in ((4, "resumed"), (7, "resumed"), (7, "straight")):
        loop.train_and_evaluate(tiny.config(num_steps=num_steps, **fields), tmp_path / workdir)
    # best_error aside: the run that was to end at step 4 was evaluated there.
    resumed, straight = (saved_leaves(tmp_path / name, config) for name in ("resumed", "straight"))
    assert resumed.keys() == straight.keys()
    averages = [name for name in straight if name.startswith("ema/")]
    assert len(averages) == sum(name.startswith(("params/", "batch_stats/")) for name in straight)
    assert any(straight[name].tobytes() != straight[name.removeprefix("ema/")].tobytes() for name in averages)
    assert [name for name in straight if straight[name].tobytes() != resumed[name].tobytes()] in ([], ["best_error"])


def test_a_mean_that_another_processor_rounds_otherwise_is_still_the_datas():
    experiment = create_experiment(tiny.config(), jax.devices()[:1])

    def saved(shift):
        metadata = checkpoint_metadata(experiment)
        network, inputs = metadata["network"], metadata["network"]["preprocessing"]
        inputs = {**inputs, "mean": (np.asarray(inputs["mean"]) + shift).tolist()}
        return {**metadata, "config": {"eval": {}}, "network": {**network, "preprocessing": inputs}}

    check_same_data(saved(0.3), experiment, test="end")
    with pytest.raises(InputError, match="the mean image of the training set has changed"):
        check_same_data(saved(0.7), experiment, test="end")
