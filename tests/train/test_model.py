"""The weights before training: the bits of one program that draws them all, and the programs that draw them."""

import jax
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet import models, parallel
from resnet_alexnet.paths import leaf_name
from resnet_alexnet.pretrained.network import weights_of
from resnet_alexnet.train.experiment import create_experiment
from tests.support import tiny
from tests.support.guests import write_lenet
from tests.support.trees import assert_same_leaves

OPTIMIZED = {"xla_backend_optimization_level": 2}  # as a draw by itself, see tests/models/test_layers.py
LENET = "a user's own"


def named(tree):
    """Host copies by name."""
    return {leaf_name(path): np.array(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def drawn_at_once(model, *, options):
    """The weights of the network as one compiled program draws them."""

    def create():
        sizes = {"num_classes": 10, "image_size": 8, "channels": 1}
        return weights_of(models.create_model(model, **sizes, rngs=nnx.Rngs(7)))

    return jax.jit(create, compiler_options=options)()


@pytest.mark.parametrize("model", ["cifar_plain8", "alexnet_cifar", LENET])
def test_the_weights_are_bitwise_those_of_one_program_on_any_number_of_devices(model, tmp_path):
    model = write_lenet(tmp_path) if model == LENET else model
    experiment = create_experiment(tiny.config(model__name=model, seed=7, optim__ema_decay=0.9))
    state = parallel.sharded(experiment.steps.create_state, experiment.mesh, experiment.steps.state_specs)
    weights = {"params": state.params, "batch_stats": state.batch_stats}
    # The user's layers are one program here too, with the options of all others.
    expected = drawn_at_once(model, options=None if "lenet" in model else OPTIMIZED)
    assert_same_leaves(named(weights), named(expected))
    assert_same_leaves(named(state.ema), named(expected))
    assert all(len(leaf.addressable_shards) == 8 for leaf in jax.tree.leaves(state))


def test_arrays_of_a_start_take_the_place_of_random_ones():
    experiment = create_experiment(tiny.config(), jax.devices()[:1])
    random = experiment.steps.create_state()
    start = {"params/head/bias": np.arange(10, dtype=np.float32)}
    state = experiment.steps.create_state(start)
    expected = {**named({"params": random.params}), **start}
    assert_same_leaves(named({"params": state.params}), expected)


def test_a_second_network_of_the_same_shapes_compiles_nothing():
    def weights(seed):
        config = tiny.config(model__name="cifar_resnet14", seed=seed)
        return jax.block_until_ready(create_experiment(config, jax.devices()[:1]).steps.create_state())

    first, compiled = weights(0), []
    note = lambda event, *_, **__: compiled.append(event)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        second = weights(1)
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    assert not [event for event in compiled if "backend_compile" in event]
    assert not np.array_equal(first.params["head"]["kernel"], second.params["head"]["kernel"])


def test_a_deeper_network_of_the_same_shapes_draws_by_the_same_programs():
    def programs(model):
        """How many programs draw the weights."""
        compiled = []
        note = lambda event, *_, fun_name="", **__: compiled.append((event, fun_name))  # noqa: E731
        jax.monitoring.register_event_duration_secs_listener(note)
        try:
            create_experiment(tiny.config(model__name=model), jax.devices()[:1]).steps.create_state()
        finally:
            jax.monitoring.unregister_event_duration_listener(note)
        return sum("backend_compile" in event and "draw" in name for event, name in compiled)

    jax.clear_caches()
    assert programs("cifar_resnet14") == 8  # the stem, three stages, where they widen, the head
    assert programs("cifar_resnet26") == 0
