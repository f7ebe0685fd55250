"""Runs of AlexNet whose two towers are on pairs of devices: their start, their checkpoints, and how they resume."""

import json

import jax
import numpy as np
import pytest

from resnet_alexnet import pretrained
from resnet_alexnet.train import loop
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.workdir import checkpoint
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import tiny


def config_of(towers, num_steps):
    return tiny.config(
        mesh__towers=towers,
        num_steps=num_steps,
        model__name="alexnet",
        model__dropout_scaling="test",
        preprocess__image_size=67,
        dataset__channels=3,
        dataset__num_examples=24,
        dataset__validation_fraction=0.25,  # 6 images: batches of 4 are padded
        batch_size=8,
        augment__pad=0,
        optim__learning_rate=0.01,
        optim__momentum=0.9,
        schedule__name="plateau",
        schedule__patience=1,
        eval__every_steps=1,
        eval__batch_size=4,
        checkpoint__every_steps=0,
        checkpoint__keep=1,
        log__every_steps=1,
    )


def train(workdir, monkeypatch, *, devices, towers, num_steps):
    """Trains as the command does, on some devices; returns the experiment."""
    experiments = []

    def create(config, **options):
        experiments.append(create_experiment(config, jax.devices()[:devices], **options))
        return experiments[0]

    monkeypatch.setattr(loop, "create_experiment", create)
    loop.train_and_evaluate(config_of(towers, num_steps), workdir)
    return experiments[0]


@pytest.mark.slow
def test_a_run_goes_on_with_its_towers_on_other_devices_as_on_one(tmp_path, monkeypatch, capsys):
    whole, split = tmp_path / "whole", tmp_path / "split"
    train(whole, monkeypatch, devices=1, towers=1, num_steps=3)
    assert "each device holds" not in capsys.readouterr().out
    first = train(split, monkeypatch, devices=4, towers=2, num_steps=1)
    held = "2 pair(s) of devices: each device holds 40.5 of 80.8 MB of parameters, 81.0 of 161.7 MB with"
    assert held in capsys.readouterr().out
    # After logs, an evaluation, the plateau and a checkpoint between the steps.
    assert first.steps.train_chunk._cache_size() == first.steps.eval_step._cache_size() == 1
    train(split, monkeypatch, devices=1, towers=1, num_steps=2)
    assert "resumed at step 1" in capsys.readouterr().out
    last = train(split, monkeypatch, devices=2, towers=2, num_steps=3)
    assert "resumed at step 2" in capsys.readouterr().out
    assert last.steps.train_chunk._cache_size() == 1

    lines = [read_metrics(workdir / "metrics.jsonl") for workdir in (whole, split)]
    for key, count in (("train/loss", 3), ("val/loss", 3), ("test/loss", 1)):
        # A shorter run was tested at its end too.
        one, pairs = ([line[key] for line in some if key in line][-count:] for some in lines)
        assert len(one) == count
        np.testing.assert_allclose(one, pairs, rtol=1e-5)

    (_, one, metadata, _), (_, pairs, other, _) = (checkpoint.read(run / "checkpoints") for run in (whole, split))
    assert {name: leaf.shape for name, leaf in one.items()} == {name: leaf.shape for name, leaf in pairs.items()}
    for name, leaf in one.items():
        assert np.abs(leaf - pairs[name]).max() <= 1e-5 * (np.abs(leaf).max() + 1e-12), name
    assert json.dumps(metadata["network"]) == json.dumps(other["network"])
    network = pretrained.load_network(split)  # as predict, evaluate and convert do
    assert network.spec.model == "alexnet"
    assert "mesh" not in json.dumps(network.spec.to_json())
