"""The measured steps are those of the loop and of evaluation."""

import copy

import jax
import numpy as np
import pytest

from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.evaluate.scoring import score_images
from resnet_alexnet.pretrained.network import TrainedModel
from resnet_alexnet.speed.steps import InferenceStep, TrainingStep, random_batch
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.train.stand_in import create_stand_in
from tests.support import tiny, toy_nets
from tests.support.trees import assert_trees_equal


def create(**fields):
    fields = {"model__name": f"{toy_nets.__file__}:SmallNet", **fields}
    return create_experiment(tiny.config(**fields), jax.devices()[:1], read=create_stand_in)


def test_a_batch_is_random_and_has_the_shapes_of_the_data():
    batch = random_batch(create(), 16)
    assert (batch["image"].shape, batch["image"].dtype) == ((16, 8, 8, 1), np.uint8)
    assert batch["image"].std() > 50
    assert set(batch["label"]) <= set(range(10))


@pytest.fixture(scope="module")
def streamed():
    experiment = create(dataset__on_device="no", dataset__num_examples=50)
    batch = random_batch(experiment, 16)
    return experiment, batch, TrainingStep(experiment, batch)


def test_the_training_step_is_that_of_the_loop(streamed):
    experiment, batch, step = streamed
    step.run(3)
    state = experiment.steps.create_state()
    for _ in range(3):
        state, _ = experiment.steps.train_chunk(state, {}, {name: array[None] for name, array in batch.items()})
    assert_trees_equal(step.weights(), (state.params, state.batch_stats))
    assert step.mean_loss() == float(state.sums["loss"]) / 48
    assert (step.images_per_call, step.steps_per_call) == (16, 1)
    assert step.compilation.compile_seconds > 0
    assert step.compilation.flops > 1e5


def test_few_steps_are_in_flight_at_once_as_in_the_loop(streamed):
    *_, real = streamed
    step, waiting, most = copy.copy(real), set(), []

    class Done:
        def block_until_ready(self):
            waiting.discard(self)

    def call(*arguments):
        done = Done()
        waiting.add(done)
        most.append(len(waiting))
        return None, done

    step.program = call
    step.run(5)
    assert most == [1, 2, 2, 2, 2]  # on a CPU
    assert len(waiting) == 1  # the last one ends after all others


def test_steps_of_data_on_the_device_are_dispatched_together():
    experiment = create(dataset__on_device="yes", steps_per_call=2, dataset__num_examples=50)
    step = TrainingStep(experiment, random_batch(experiment, 16))
    assert step.images_per_call == 32
    step.run(2)
    assert int(step._state.step) == 4
    assert step.mean_loss() > 0


def test_a_start_takes_the_place_of_random_weights(streamed):
    experiment, batch, step = streamed
    bias = np.linspace(0, 1, 10, dtype=np.float32)
    step = TrainingStep(experiment, batch, start={"params/fc2/bias": bias})
    np.testing.assert_array_equal(step.weights()[0]["fc2"]["bias"], bias)


def test_the_inference_step_is_that_of_evaluation(streamed):
    experiment, batch, step = streamed
    spec, weights = experiment.model.spec, step.weights()
    inference = InferenceStep(experiment, weights, batch["image"], precision="float32")
    inference.run(2)
    network = TrainedModel(spec, *jax.tree.map(np.asarray, weights))
    scores = score_images(
        [network],
        lambda index: batch["image"][index],
        16,
        protocol=TestProtocol("center"),
        mesh=experiment.mesh,
        batch_size=16,
    )
    np.testing.assert_allclose(jax.nn.softmax(inference.logits()), scores[0], rtol=1e-5)
    assert inference.images_per_call == 16
