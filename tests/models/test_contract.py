"""What is asked of every model, of ours, one of each family and variant, and of a user's own."""

import functools
import inspect
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet import models, pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.features.extraction import find_layer
from resnet_alexnet.features.kernels import first_kernels
from resnet_alexnet.models.summary import summarize, total_parameters
from resnet_alexnet.models.trace import layer_calls
from resnet_alexnet.paths import is_within
from resnet_alexnet.pretrained import weights
from resnet_alexnet.pretrained.network import TrainedModel
from resnet_alexnet.train import finetune
from resnet_alexnet.train.experiment import create_experiment
from tests.support import tiny
from tests.support.guests import write_lenet
from tests.support.networks import create_network

GUEST = "guest"
SIZE_OF = {  # of its smallest usual images, in pixels
    **dict.fromkeys(("alexnet", "alexnet_one_tower"), 63),
    "alexnet_owt": 224,
    **dict.fromkeys(("resnet18", "resnet50", "plain18"), 32),
    **dict.fromkeys(("alexnet_cifar", "cifar_resnet8", "cifar_plain8", GUEST), 16),
}
OF_ONE_SIZE = ("alexnet_cifar",)


@pytest.fixture(scope="module", params=SIZE_OF)
def network(request, tmp_path_factory) -> TrainedModel:
    path = list(sys.path)
    name = write_lenet(tmp_path_factory.mktemp("guest")) if request.param == GUEST else request.param
    network = create_network(name, size=SIZE_OF[request.param])
    sys.path[:] = path
    return network


@functools.cache
def forward(graphdef, train):
    """The compiled model."""

    @jax.jit
    def call(params, batch_stats, image, keys):
        model = nnx.merge(graphdef, params, batch_stats, copy=True)
        logits = model(image, train=train, rngs=keys)
        return logits, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    return call


def image_of(network, batch=2):
    preprocessing = network.spec.preprocessing
    shape = (batch, preprocessing.image_size, preprocessing.image_size, preprocessing.channels)
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def apply(network, *, train=False, seed=0):
    keys = jax.random.split(jax.random.key(seed), 2)
    return forward(network.spec.graphdef(), train)(network.params, network.batch_stats, image_of(network), keys)


def is_guest(network):
    return ":" in network.spec.model


def test_every_family_is_asked():
    families = {getattr(model, "func", model) for model in models.MODELS.values()}
    asked = {getattr(models.MODELS[name], "func", models.MODELS[name]) for name in SIZE_OF if name != GUEST}
    assert asked == families


def test_every_option_has_a_type_and_a_default(network):
    name = network.spec.model
    model = models.MODELS[name] if name in models.MODELS else type(network.spec.abstract())
    parameters = inspect.signature(getattr(model, "func", model).__init__).parameters
    kinds = models.option_types(name)
    assert tuple(kinds) == models.model_options(name)
    for option, types in kinds.items():
        default = parameters[option].default
        assert isinstance(default, types), option
    defaults = {option: parameters[option].default for option in kinds}
    assert nnx.graphdef(network.spec.abstract(**defaults)) == network.spec.graphdef()
    with pytest.raises(InputError, match="is 'no_such_option'"):
        network.spec.abstract(no_such_option=1)


def test_testing_is_deterministic_and_moves_no_statistic(network):
    logits, batch_stats = apply(network)
    assert (logits.shape, logits.dtype) == ((2, 3), jnp.float32)
    np.testing.assert_array_equal(logits, apply(network, seed=1)[0])
    assert all(map(np.array_equal, jax.tree.leaves(batch_stats), jax.tree.leaves(network.batch_stats)))
    np.testing.assert_allclose(network.module()(image_of(network)), logits, rtol=1e-3, atol=1e-4)


def test_training_takes_one_key_an_image_and_keeps_the_shapes(network):
    def step(params, batch_stats, keys):
        model = nnx.merge(network.spec.graphdef(), params, batch_stats, copy=True)
        logits = model(image_of(network), train=True, rngs=keys)
        return logits, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    keys = jax.random.split(jax.random.key(0), 2)
    logits, batch_stats = jax.eval_shape(step, network.params, network.batch_stats, keys)
    assert logits.shape == (2, 3)
    assert jax.tree.map(jnp.shape, batch_stats) == jax.tree.map(jnp.shape, network.batch_stats)


def test_the_summary_counts_all_parameters(network):
    preprocessing = network.spec.preprocessing
    sizes = {"num_classes": 3, "image_size": preprocessing.image_size, "channels": preprocessing.channels}
    rows = summarize(network.spec.model, **sizes)
    assert total_parameters(rows) == sum(leaf.size for leaf in jax.tree.leaves(network.params))
    assert all(row.shape and row.layer for row in rows)
    assert rows[0].multiply_adds > 0


def test_features_and_kernels_are_found(network):
    layer = find_layer(network)
    assert layer.at_input
    assert len(layer.shape) == 1
    path, kernels = first_kernels(network)
    assert find_layer(network, path).shape[-1] == sum(kernel.shape[-1] for kernel in kernels)
    assert kernels[0].shape[2] == 3


def test_layers_can_be_frozen_or_made_anew_by_their_path(network):
    spec, (first, _) = network.spec, first_kernels(network)
    finetune.check_frozen(spec.abstract(), (first,))
    with pytest.raises(InputError, match=r"finetune.frozen has 'no_such_layer'"):
        finetune.check_frozen(spec.abstract(), ("no_such_layer",))
    other = create_network(spec.model, size=spec.preprocessing.image_size, classes=tuple("abcde")).spec
    head = finetune.new_prefixes(network, other, ("auto",))
    anew = network.leaves().keys() - finetune.select_leaves(network, spec, head, where="here").keys()
    assert anew
    assert anew == {name for name in network.leaves() if is_within(name.partition("/")[2], head)}


def test_weights_come_back_from_a_file(network, tmp_path):
    weights.save(network, tmp_path / "w.safetensors")
    again = pretrained.load_network(tmp_path / "w.safetensors", model=network.spec.model)
    assert again.spec.to_json() == network.spec.to_json()
    assert again.leaves().keys() == network.leaves().keys()
    assert all(np.array_equal(leaf, again.leaves()[name]) for name, leaf in network.leaves().items())


def test_whole_photographs_are_taken_or_refused_in_one_line(network):
    size = network.spec.preprocessing.image_size
    protocol = TestProtocol(views="fully_convolutional", scales=(size + 32,))
    if is_guest(network) or network.spec.model in OF_ONE_SIZE:
        with pytest.raises(InputError, match="cannot be tested fully convolutionally: ") as raised:
            protocol.model_options(network.spec)
        assert "\n" not in str(raised.value)
    else:
        model = network.spec.abstract(**protocol.model_options(network.spec))
        assert layer_calls(model, (size + 32, size + 64, 3))[-1].output_shape[-1] == 3


def test_a_training_step_can_be_taken(network):
    size = network.spec.preprocessing.image_size
    options = {"dataset__channels": 3, "preprocess__image_size": size, "dataset__num_classes": 3}
    config = tiny.config(model__name=network.spec.model, optim__decay_mask="kernels", **options)
    experiment = create_experiment(config, jax.devices()[:1])
    state = jax.eval_shape(experiment.steps.create_state)
    assert jax.tree.structure(state.params) == jax.tree.structure(network.params)
    data = {
        "image": jax.ShapeDtypeStruct((180, size, size, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((180,), jnp.int32),
    }
    chunk = {"index": jax.ShapeDtypeStruct((1, config.batch_size), jnp.int32)}
    after, _ = jax.eval_shape(experiment.steps.train_chunk, state, data, chunk)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
