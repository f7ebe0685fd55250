"""create_model: initialisers, options, image sizes, dtypes, randomness and errors."""

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


def create(name, *, num_classes=10, image_size=63, **options):
    """A model created under jit, which is several times faster than step by step."""
    return nnx.jit(
        lambda: create_model(name, num_classes=num_classes, image_size=image_size, rngs=nnx.Rngs(0), **options)
    )()


@pytest.fixture(scope="module")
def alexnet():
    return create("alexnet")


def normal(*shape, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(0).standard_normal(shape), jnp.float32)


def parameters(model):
    return {".".join(map(str, path)): np.asarray(p.get_value()) for path, p in nnx.iter_graph(model) if is_param(p)}


def is_param(node):
    return isinstance(node, nnx.Param)


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


def test_author_code_initialisation_is_cuda_convnets():
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


def test_alexnet_owt_starts_as_torchs_layers():
    found = parameters(create("alexnet_owt"))
    fan_in = {"conv1": 363, "conv2": 1600, "conv3": 1728, "conv4": 3456, "conv5": 2304, "fc6": 9216}
    for layer, inputs in (fan_in | {"fc7": 4096, "fc8": 4096}).items():
        bound = inputs**-0.5
        for kind in ("kernel", "bias"):
            array = found[f"{layer}.{kind}"]
            assert np.abs(array).max() <= bound
            assert_drawn(array, bound / np.sqrt(3))


@pytest.mark.parametrize(("name", "options"), [("resnet50", {"shortcut": "C"}), ("cifar_plain20", {})])
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
    model = create("cifar_resnet14", image_size=32, shortcut=shortcut, zero_init_last_gamma=True)
    block = model.stages[1][0]
    x = normal(2, 8, 8, 16)
    np.testing.assert_array_equal(block(x, train=False), jax.nn.relu(block.shortcut(x, train=False)))
    assert not np.any(block.conv2.norm.scale.get_value())
    assert np.all(block.conv1.norm.scale.get_value() == 1)
    assert shortcut == "A" or np.all(block.shortcut.projection.norm.scale.get_value() == 1)


def test_shortcut_a_pads_zeros_behind_the_strided_identity():
    shortcut = create("cifar_resnet8", image_size=32).stages[1][0].shortcut
    x = normal(2, 6, 6, 16)
    y = shortcut(x, train=False)
    np.testing.assert_array_equal(y[..., :16], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 16:], np.zeros((2, 3, 3, 16)))


def test_a_larger_image_gives_the_mean_logits_over_the_positions_of_the_last_map():
    model = create("alexnet", image_size=127 - 32)
    outputs = {}
    with observe(lambda layer, x, y: outputs.setdefault(id(layer), y)):
        logits = model(normal(1, 127, 127, 3, scale=30.0))
    maps = outputs[id(model.pool5)]
    kernel = model.fc6.kernel.get_value()
    assert kernel.shape[:2] == (2, 2)
    assert maps.shape == (1, 3, 3, 256)
    expected = []
    for i in range(2):
        for j in range(2):
            window = maps[0, i : i + 2, j : j + 2].reshape(-1)
            hidden = jax.nn.relu(window @ kernel.reshape(-1, 4096) + model.fc6.bias.get_value())
            expected.append(model.fc8(jax.nn.relu(model.fc7(hidden))))
    assert np.std(expected, axis=0).max() > 1e-3
    np.testing.assert_allclose(logits[0], np.mean(expected, axis=0), rtol=1e-4, atol=1e-5)


def test_lrn_stands_after_the_activation_or_before_it_and_stays_within_a_tower():
    def order(**options):
        model, calls = nnx.eval_shape(lambda: create("alexnet", **options)), {}
        names = {id(module): ".".join(map(str, path)) for path, module in nnx.iter_modules(model)}
        return model, names, calls

    model = create("alexnet", lrn_order="before_activation", lrn_alpha=1.0)
    seen = {}
    with observe(lambda layer, x, y: seen.setdefault(id(layer), (x, y))):
        model(normal(1, 63, 63, 3, scale=30.0))
    conv, norm, pool = (seen[id(layer)] for layer in (model.conv1, model.norm1, model.pool1))
    np.testing.assert_array_equal(norm[0], conv[1])
    np.testing.assert_array_equal(pool[0], jax.nn.relu(norm[1]))
    assert model.norm1.groups == model.norm2.groups == 2


def test_the_tower_exchange_is_in_conv3_and_the_fully_connected_layers_only(alexnet):
    """A change of tower 0's conv1 reaches its own half of conv2, and all of conv3."""
    image, seen = normal(1, 63, 63, 3, scale=30.0), []
    changed = nnx.clone(alexnet)
    changed.conv1.kernel.set_raw_value(alexnet.conv1.kernel.get_value().at[0].multiply(2.0))
    for model in (alexnet, changed):
        outputs = {}
        with observe(lambda layer, x, y, outputs=outputs: outputs.setdefault(id(layer), y)):
            model(image)
        seen.append([np.asarray(outputs[id(layer)]) for layer in (model.norm1, model.conv2, model.norm2, model.conv3)])
    for before, after in zip(seen[0][:3], seen[1][:3], strict=True):
        half = before.shape[-1] // 2
        assert not np.array_equal(before[..., :half], after[..., :half])
        np.testing.assert_array_equal(before[..., half:], after[..., half:])
    half = seen[0][3].shape[-1] // 2
    assert not np.array_equal(seen[0][3][..., half:], seen[1][3][..., half:])


def test_dropout_in_training_depends_on_the_images_keys_alone(alexnet):
    image, keys = normal(4, 63, 63, 3), jax.random.split(jax.random.key(1), 4)
    whole = alexnet(image, train=True, rngs=keys)
    parts = [alexnet(image[i : i + 2], train=True, rngs=keys[i : i + 2]) for i in (0, 2)]
    np.testing.assert_allclose(whole, jnp.concatenate(parts), rtol=1e-4, atol=1e-5)
    assert not np.allclose(whole, alexnet(image, train=True, rngs=keys[::-1]), rtol=1e-2)
    assert not np.allclose(whole, alexnet(image), rtol=1e-2)
    assert alexnet(image, train=True, rngs=nnx.Rngs(0)).shape == (4, 10)


def test_a_net_without_dropout_needs_no_randomness_in_training():
    model = create("alexnet", dropout=0.0)
    image = normal(2, 63, 63, 3)
    np.testing.assert_array_equal(model(image, train=True), model(image))


@pytest.mark.parametrize("name", ["alexnet", "alexnet_owt", "alexnet_cifar", "resnet50", "cifar_resnet8"])
def test_a_bfloat16_image_gives_bfloat16_logits_and_parameters_stay_float32(name):
    def forward(image):
        model = create_model(name, num_classes=10, image_size=64, rngs=nnx.Rngs(0))
        logits = model(image, train=True, rngs=nnx.Rngs(1))
        return logits, nnx.to_pure_dict(nnx.state(model))

    logits, state = jax.eval_shape(forward, jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.bfloat16))
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype(np.float32)}


def test_evaluation_moves_no_statistic_and_training_does():
    model = create("cifar_resnet8", image_size=16)
    image = normal(2, 16, 16, 3)
    before = jax.tree.leaves(nnx.state(model, nnx.BatchStat))
    model(image)
    assert all(map(np.array_equal, before, jax.tree.leaves(nnx.state(model, nnx.BatchStat))))
    model(image, train=True)
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


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet51", {}, "unknown model 'resnet51', did you mean 'resnet50'.*cifar_resnet{6n\\+2}"),
        ("cifar_resnet21", {}, "unknown model"),
        ("resnet50", {"shortcuts": "A"}, "option of resnet50 is 'shortcuts', did you mean 'shortcut'"),
        ("alexnet_one_tower", {"towers": 2}, "option of alexnet_one_tower is 'towers'"),
        ("resnet50", {"shortcut": "D"}, r"shortcut is 'D' \(allowed: A, B, C\)"),
        ("resnet50", {"shortcut": ""}, "shortcut is ''"),
        ("resnet50", {"stride_in": "2x2"}, "stride_in is '2x2'"),
        ("resnet18", {"stride_in": "3x3"}, "stride_in='3x3': only bottleneck nets"),
        ("plain34", {"shortcut": "A"}, "shortcut='A': a plain net"),
        ("plain34", {"zero_init_last_gamma": True}, "zero_init_last_gamma=True: a plain net"),
        ("cifar_resnet20", {"pool_padding": "torch"}, "pool_padding='torch': a CIFAR net"),
        ("resnet18", {"pool_padding": "same"}, "pool_padding is 'same'"),
        ("resnet18", {"activation": "rleu"}, "activation is 'rleu', did you mean 'relu'"),
        ("resnet18", {"bn_group": 0}, "bn_group is 0"),
        ("alexnet", {"lrn_order": "after"}, "lrn_order is 'after'"),
        ("alexnet", {"lrn_size": 4}, "lrn_size=4"),
        ("alexnet", {"pooling": "max"}, "pooling is 'max'"),
        ("alexnet", {"dropout": 1.5}, "dropout is 1.5"),
        ("alexnet", {"dropout_scaling": "train"}, "dropout_scaling is 'train'"),
        ("alexnet", {"init": "torch"}, "init is 'torch'"),
        ("alexnet", {"towers": 3}, "towers is 3"),
        ("alexnet", {"image_size": 62}, "image_size=62 is too small for AlexNet, the smallest is 63"),
        ("alexnet_owt", {"image_size": 62}, "image_size=62 is too small for alexnet_owt, the smallest is 63"),
        ("resnet18", {"image_size": 0}, "image_size is 0"),
        ("resnet18", {"num_classes": 0}, "num_classes is 0"),
        ("resnet18", {"channels": 2.5}, "channels is 2.5"),
    ],
)
def test_a_bad_model_is_named(name, arguments, message):
    with pytest.raises(InputError, match=message):
        nnx.eval_shape(lambda: create_model(name, **{"num_classes": 10, "rngs": nnx.Rngs(0), **arguments}))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("alexnet", (1, 223, 224, 3), None),
        ("alexnet", (1, 180, 224, 3), "image of 180x224 pixels is too small, the smallest is 191x191"),
        ("alexnet", (1, 224, 224, 1), "image has shape .*3 channels"),
        ("alexnet_cifar", (1, 33, 33, 3), "image of 33x33 pixels is too large, the largest is 32x32"),
        ("resnet18", (224, 224, 3), r"image has shape \(224, 224, 3\)"),
        ("resnet18", (1, 1, 1, 3), None),
    ],
)
def test_a_bad_image_is_named(name, shape, message):
    def forward(image):
        size = 32 if "cifar" in name else 224
        return create_model(name, num_classes=10, image_size=size, rngs=nnx.Rngs(0))(image)

    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    if message is None:
        assert jax.eval_shape(forward, image).shape == (1, 10)
    else:
        with pytest.raises(InputError, match=message):
            jax.eval_shape(forward, image)


def test_training_with_dropout_asks_for_randomness():
    with pytest.raises(InputError, match="pass rngs="):
        jax.eval_shape(
            lambda: create_model("alexnet", num_classes=10, image_size=63, rngs=nnx.Rngs(0))(
                jnp.zeros((1, 63, 63, 3)), train=True
            )
        )


def test_every_published_depth_is_a_model():
    for n in (3, 5, 7, 9, 18, 200):
        check_model(f"cifar_resnet{6 * n + 2}")
        check_model(f"cifar_plain{6 * n + 2}")
    assert {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "plain18", "plain34"} <= MODELS.keys()


def test_importing_the_models_starts_no_backend():
    code = (
        "import resnet_alexnet.models.summary\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()\n"
        "from absl import flags\n"
        "assert 'image_size' not in flags.FLAGS\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
