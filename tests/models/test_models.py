"""create_model: initializers, options, image sizes, dtypes and randomness."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet.errors import InputError
from resnet_alexnet.models import MODELS, check_model, create_model, model_options, option_types
from resnet_alexnet.models.layers import observe
from tests.support.networks import initialized


def create(name, *, image_size=63, **options):
    return initialized(name, image_size=image_size, **options)


@pytest.fixture(scope="module")
def alexnet():
    return create("alexnet")


def normal(*shape, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(0).standard_normal(shape), jnp.float32)


def parameters(model):
    return {".".join(map(str, path)): np.asarray(p.get_value()) for path, p in nnx.iter_graph(model) if is_param(p)}


def is_param(node):
    return isinstance(node, nnx.Param)


@functools.partial(nnx.jit, static_argnames="train")
def apply(model, image, train=False, rngs=None):
    return model(image, train=train, rngs=rngs)


@nnx.jit
def observed(model, image):
    """The logits and every layer's output by path."""
    names, outputs = {id(module): ".".join(map(str, path)) for path, module in nnx.iter_modules(model)}, {}
    with observe(lambda layer, x, y: outputs.update({names[id(layer)]: y})):
        return model(image), outputs


def assert_drawn(array, std, *, mean=0.0):
    """Mean and standard deviation lie within four standard errors of a normal sample's."""
    assert abs(array.mean() - mean) < 4 * std / np.sqrt(array.size)
    assert abs(array.std() / std - 1) < 4 / np.sqrt(2 * array.size)


ONE_BIASES = {"conv2", "conv4", "conv5", "fc6", "fc7"}


def test_alexnet_starts_as_section_5_says(alexnet):
    found = parameters(alexnet)
    assert len(found) == 16
    for path, array in found.items():
        layer, kind = path.split(".")
        if kind == "bias":
            np.testing.assert_array_equal(array, 1.0 if layer in ONE_BIASES else 0.0)
        else:
            assert_drawn(array, 0.01)
    for layer in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        first, second = found[f"{layer}.kernel"]
        assert not np.array_equal(first, second)


def test_author_code_initialization_is_cuda_convnets():
    found = parameters(create("alexnet_one_tower", init="author_code"))
    for i in range(1, 6):
        assert_drawn(found[f"conv{i}.kernel"], 0.03 if i >= 3 else 0.01)
    np.testing.assert_array_equal(found["fc8.bias"], -7.0)
    np.testing.assert_array_equal(found["fc7.bias"], 1.0)


def test_alexnet_cifar_starts_as_cuda_convnets_layers():
    found = parameters(create("alexnet_cifar", image_size=32))
    stds = {"conv1": 0.01, "conv2": 0.01, "local3": 0.04, "local4": 0.04, "fc": 0.01}
    assert {path.split(".")[0] for path in found} == set(stds)
    for layer, std in stds.items():
        assert_drawn(found[f"{layer}.kernel"], std)
        np.testing.assert_array_equal(found[f"{layer}.bias"], 0.0)


def test_alexnet_cifar_normalizes_as_cuda_convnet_does():
    model = create("alexnet_cifar", image_size=32)
    assert (model.norm1.size, model.norm1.k, model.norm1.alpha, model.norm1.beta) == (9, 1.0, 0.001 / 9, 0.75)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cifar_resnet8", {"shortcut": "C"}),
        ("cifar_plain8", {}),
        ("resnet18", {}),
        ("resnet50", {"width": 8}),
    ],
)
def test_residual_and_plain_nets_start_as_he_says(name, options):
    for path, array in parameters(create(name, **options)).items():
        if path.endswith("kernel"):
            assert_drawn(array, np.sqrt(2 / np.prod(array.shape[:-1])))
        elif path.endswith("scale"):
            np.testing.assert_array_equal(array, 1.0)
        else:
            np.testing.assert_array_equal(array, 0.0)


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_zero_last_gamma_makes_residual_functions_start_at_zero(shortcut):
    model = create("cifar_resnet8", image_size=32, shortcut=shortcut, zero_init_last_gamma=True)
    block = model.stages[1][0]
    x = normal(2, 8, 8, 16)
    y, identity = nnx.jit(lambda block, x: (block(x, train=False), block.shortcut(x, train=False)))(block, x)
    np.testing.assert_array_equal(y, jax.nn.relu(identity))
    assert not np.any(block.conv2.norm.scale.get_value())
    assert np.all(block.conv1.norm.scale.get_value() == 1)
    assert shortcut == "A" or np.all(block.shortcut.projection.norm.scale.get_value() == 1)


def test_shortcut_a_pads_zeros_behind_the_strided_identity():
    shortcut = create("cifar_resnet8", image_size=32).stages[1][0].shortcut
    x = normal(2, 6, 6, 16)
    y = shortcut(x, train=False)
    np.testing.assert_array_equal(y[..., :16], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 16:], np.zeros((2, 3, 3, 16)))


def test_a_larger_image_gives_the_mean_logits_over_the_positions_of_the_last_map(alexnet):
    logits, outputs = observed(alexnet, normal(1, 95, 127, 3, scale=30.0))
    maps = outputs["pool5"]
    assert maps.shape == (1, 2, 3, 256)
    kernel, bias = alexnet.fc6.kernel.get_value()[0, 0], alexnet.fc6.bias.get_value()
    expected = []
    for position in maps.reshape(-1, 256):
        hidden = jax.nn.relu(alexnet.fc7(jax.nn.relu(position @ kernel + bias)))
        expected.append(alexnet.fc8(hidden))
    assert np.std(expected, axis=0).max() > 1e-3
    np.testing.assert_allclose(logits[0], np.mean(expected, axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lrn_order", ["after_activation", "before_activation"])
def test_lrn_stands_after_the_activation_or_before_it(lrn_order):
    model = nnx.eval_shape(lambda: create_model("alexnet", num_classes=10, lrn_order=lrn_order, rngs=nnx.Rngs(0)))
    before = lrn_order == "before_activation"
    x = normal(1, 2, 2, 96, scale=30.0)
    y = model._activate(x, model.norm1)
    np.testing.assert_array_equal(y, jax.nn.relu(model.norm1(x)) if before else model.norm1(jax.nn.relu(x)))
    assert not np.array_equal(y, jax.nn.relu(x))
    assert model.norm1.groups == model.norm2.groups == 2


def test_the_towers_exchange_nothing_before_conv3(alexnet):
    """A change of tower 0's conv1 reaches its own half of conv2 and its norms, and all of conv3."""
    image = normal(1, 63, 63, 3, scale=30.0)
    changed = nnx.clone(alexnet)
    changed.conv1.kernel.set_raw_value(alexnet.conv1.kernel.get_value().at[0].multiply(2.0))
    before, after = observed(alexnet, image)[1], observed(changed, image)[1]
    for layer in ("norm1", "conv2", "norm2"):
        half = before[layer].shape[-1] // 2
        assert not np.array_equal(before[layer][..., :half], after[layer][..., :half])
        np.testing.assert_array_equal(before[layer][..., half:], after[layer][..., half:])
    assert not np.array_equal(before["conv3"][..., 192:], after["conv3"][..., 192:])


def test_dropout_in_training_depends_on_the_images_keys_alone(alexnet):
    image, keys = normal(4, 63, 63, 3), jax.random.split(jax.random.key(1), 4)
    whole = apply(alexnet, image, train=True, rngs=keys)
    parts = [apply(alexnet, image[i : i + 2], train=True, rngs=keys[i : i + 2]) for i in (0, 2)]
    np.testing.assert_allclose(whole, jnp.concatenate(parts), rtol=1e-4, atol=1e-5)
    assert not np.allclose(whole, apply(alexnet, image, train=True, rngs=keys[::-1]), rtol=1e-2)
    assert not np.allclose(whole, apply(alexnet, image), rtol=1e-2)
    assert apply(alexnet, image, train=True, rngs=nnx.Rngs(0)).shape == (4, 10)


def test_a_net_without_dropout_needs_no_randomness_in_training():
    def forward(image):
        return create_model("alexnet", num_classes=10, image_size=63, dropout=0.0, rngs=nnx.Rngs(0))(image, train=True)

    assert jax.eval_shape(forward, jax.ShapeDtypeStruct((2, 63, 63, 3), jnp.float32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_owt", "alexnet_cifar", "resnet50", "cifar_resnet8"])
def test_a_bfloat16_image_gives_bfloat16_logits_and_parameters_stay_float32(name):
    def forward(image):
        model = create_model(name, num_classes=10, image_size=64, rngs=nnx.Rngs(0))
        logits = model(image, train=True, rngs=nnx.Rngs(1))
        return logits, nnx.to_pure_dict(nnx.state(model))

    logits, state = jax.eval_shape(forward, jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.bfloat16))
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["cifar_resnet8", "cifar_plain8", "cifar_resnet20", "alexnet_cifar"])
def test_compiled_logits_in_bfloat16_are_near_those_in_float32(name):
    graphdef, state = nnx.split(create(name, image_size=32))
    forward = jax.jit(lambda state, image: nnx.merge(graphdef, state)(image).astype(jnp.float32))
    image = normal(8, 32, 32, 3)
    exact = forward(state, image)
    np.testing.assert_allclose(forward(state, image.astype(jnp.bfloat16)), exact, atol=0.1 * np.abs(exact).max())


def test_evaluation_moves_no_statistic_and_training_does():
    model = create("cifar_resnet8", image_size=16)
    image = normal(2, 16, 16, 3)
    before = jax.tree.leaves(nnx.state(model, nnx.BatchStat))
    apply(model, image)
    assert all(map(np.array_equal, before, jax.tree.leaves(nnx.state(model, nnx.BatchStat))))
    apply(model, image, train=True)
    assert not any(map(np.array_equal, before, jax.tree.leaves(nnx.state(model, nnx.BatchStat))))


def test_defaults_are_the_papers():
    def projections(name):
        model = nnx.eval_shape(lambda: create_model(name, num_classes=10, rngs=nnx.Rngs(0)))
        return sum("projection" in path and path[-1] == "conv" for path, _ in nnx.iter_modules(model))

    assert [projections(name) for name in ("resnet34", "cifar_resnet20", "resnet50", "plain18")] == [0, 0, 4, 0]


def test_model_options_are_those_a_table_leaves_open():
    assert "towers" in model_options("alexnet")
    assert "towers" not in model_options("alexnet_one_tower")
    assert {"shortcut", "stride_in", "bn_group"} <= set(model_options("resnet50"))
    assert not {"num_classes", "key", "block", "stem"} & set(model_options("resnet50"))
    assert option_types("resnet50")["bn_group"] == (int, str, type(None))
    assert option_types("alexnet")["lrn"] == (bool,)


def test_every_published_depth_is_a_model():
    for n in (3, 5, 7, 9, 18, 200):
        check_model(f"cifar_resnet{6 * n + 2}")
        check_model(f"cifar_plain{6 * n + 2}")
    assert {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "plain18", "plain34"} <= MODELS.keys()


def test_importing_the_models_declares_no_flag():
    code = "import resnet_alexnet.models.summary\nfrom absl import flags\nassert 'image_size' not in flags.FLAGS\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_call_in_training_with_one_value_per_channel_names_the_layer():
    """A single image of 32 pixels has a last map of one pixel."""

    def logits(images, size, train):
        def call():
            model = create_model("resnet18", num_classes=3, rngs=nnx.Rngs(0))
            return model(jnp.zeros((images, size, size, 3)), train=train)

        return nnx.eval_shape(call).shape

    with pytest.raises(InputError, match=r"^stages.3.0.conv1.norm: batch normalization in training over 1 value"):
        logits(1, 32, True)
    assert [logits(*call) for call in ((2, 32, True), (1, 64, True), (1, 32, False))] == [(2, 3), (1, 3), (1, 3)]
