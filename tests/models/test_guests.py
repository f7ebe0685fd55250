"""A user's own network: every breach of the contract is one line, and its mode and randomness are ours to set."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_alexnet import parallel
from resnet_alexnet.errors import InputError
from resnet_alexnet.models import create_model, fully_convolutional_options, model_options, option_types
from resnet_alexnet.models.summary import summarize, total_parameters
from resnet_alexnet.models.trace import freeze
from resnet_alexnet.pretrained.network import ModelSpec
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train.model import check_batch_norm
from tests.support.guests import LENET, write_lenet

SIZES = {"num_classes": 3, "image_size": 8, "channels": 1}
IMAGE = jnp.asarray(np.random.default_rng(0).standard_normal((4, 8, 8, 1)), jnp.float32)
INIT = "def __init__(self, *, num_classes, image_size, channels, rngs, width: int = 6, rate=0.5):"
CALL = "def __call__(self, image, *, train=False, rngs=None):"


def create(name, **options):
    return create_model(name, **SIZES, rngs=nnx.Rngs(0), **options)


def keys(seed=0):
    return jax.random.split(jax.random.key(seed), len(IMAGE))


@pytest.fixture(autouse=True)
def same_path(monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))


@pytest.fixture
def lenet(tmp_path):
    return write_lenet(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class LeNet(nnx.Module)", "class LeNet", "needed: a class that derives from flax.nnx.Module"),
        (INIT, INIT.replace("image_size, ", ""), "__init__ does not take image_size"),
        (INIT, INIT.replace("rngs, ", ""), r"__init__ does not take rngs \(needed: num_classes, image_size, chan"),
        (INIT, INIT.replace("=0.5", ""), "__init__ has no default for rate"),
        (CALL, "def __call__(self, image):", "__call__ must take .image, ., train=False, rngs=None.: got an unexp"),
        ("image_size // 4", "image_size // none", "__init__: line 7: NameError: name 'none' is not defined"),
        (
            "nnx.Dropout(rate)",
            "nnx.Dropout(rate, rngs=rngs)",
            r"dropout.rngs.\w+ keeps random numbers in the model: lea",
        ),
        ("nnx.Dropout(rate)", "nnx.Cache(1.0)", "dropout is Cache, which is neither trained nor saved .allowed: nnx.P"),
        ("nnx.Dropout(rate)", "rngs.params()", "dropout is a plain array, which is neither trained nor saved"),
        ("120, rngs=", "120, param_dtype='bfloat16', rngs=", "fc3.bias is bfloat16 .needed: float32"),
        (
            "self.fc4(self",
            "(self",
            r"shape \(4, 8, 8, 1\) returns float32 of shape \(4, 120\) .needed: float logits, \(4",
        ),
        ("return self.fc4", "return self.fc4, self.fc4", "returns tuple .needed: an array of logits"),
        ("return self.fc4(", "return 1 > self.fc4(", "returns bool of shape"),
        ("reshape(len(x)", "reshape(7", "line 20: TypeError: cannot reshape array"),
    ],
)
def test_a_breach_of_the_contract_is_one_line(tmp_path, old, new, message):
    assert old in LENET
    file = tmp_path / "broken.py"
    file.write_text(LENET.replace(old, new))
    with pytest.raises(InputError, match=message) as raised:
        nnx.eval_shape(lambda: create(f"{file}:LeNet")(IMAGE))
    assert "\n" not in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_network_without_parameters_is_one_line(tmp_path):
    file = tmp_path / "empty.py"
    file.write_text(
        f"from flax import nnx\nclass Empty(nnx.Module):\n    {INIT}\n        pass\n    {CALL}\n        pass\n"
    )
    with pytest.raises(InputError, match=r"empty.py:Empty has no parameters"):
        create(f"{file}:Empty")


def test_options_types_and_defaults_are_those_of_its_init(lenet):
    assert model_options(lenet) == ("width", "rate")
    assert option_types(lenet) == {"width": (int,), "rate": (float,)}
    assert create(lenet, width=4).conv1.kernel.get_value().shape == (5, 5, 1, 4)
    with pytest.raises(InputError, match=r"option of .*LeNet is 'widht', did you mean 'width'"):
        create(lenet, widht=4)
    with pytest.raises(InputError, match=r"model.width is '4' \(allowed: int\)"):
        create(lenet, width="4")


def test_the_layers_follow_the_flag_train_by_themselves(lenet):
    model = create(lenet)
    logits = model(IMAGE)
    np.testing.assert_array_equal(model(IMAGE), logits)
    np.testing.assert_array_equal(model.norm2.mean.get_value(), 0)
    first, again, other = (model(IMAGE, train=True, rngs=keys(seed)) for seed in (0, 0, 1))
    assert np.any(model.norm2.mean.get_value() != 0)
    np.testing.assert_array_equal(first, again)  # of the same batch, by its own statistics
    assert np.any(first != other)
    assert np.any(model(IMAGE) != logits)  # the running statistics have moved
    assert model(IMAGE, train=True, rngs=nnx.Rngs(0)).shape == (4, 3)


def test_a_frozen_layer_works_in_training_as_in_testing(lenet):
    model = create(lenet)
    freeze(model, ("norm2", "dropout"))
    np.testing.assert_array_equal(model(IMAGE, train=True, rngs=keys()), model(IMAGE))
    np.testing.assert_array_equal(model.norm2.mean.get_value(), 0)


def test_the_summary_counts_all_parameters_each_once(tmp_path):
    """Those of layers that are called twice, and those that are used without a call."""
    file = tmp_path / "direct.py"
    shift = "self.shift = nnx.Param(rngs.params.uniform((3,)))"
    file.write_text(
        LENET.replace("self.fc4 = ", f"{shift}\n        self.fc4 = ")
        .replace("120, num_classes", "120, 120")
        .replace("return self.fc4(", "x = self.fc4(self.fc4(")
        .replace("rngs=rngs))\n", "rngs=rngs)))\n        return x @ self.fc3.kernel[:3].T + self.shift\n")
    )
    rows = summarize(f"{file}:LeNet", **SIZES)
    assert [(row.layer, row.parameters) for row in rows if row.layer in ("fc4", "shift")] == [
        ("fc4", 120 * 121),
        ("fc4", 0),
        ("shift", 3),
    ]
    assert total_parameters(rows) == 6 * 26 + 6 * 16 * 25 + 2 * 16 + 65 * 120 + 121 * 120 + 3
    assert {row.layer: row.multiply_adds for row in rows}["conv2"] == 16 * 16 * 6 * 25


def test_whole_images_are_taken_unless_its_class_says_why_not(lenet, tmp_path):
    assert fully_convolutional_options(lenet) == {}
    file = tmp_path / "says.py"
    file.write_text(
        LENET.replace("    def __init__", "    fully_convolutional = 'fc3 knows one size'\n\n    def __init__")
    )
    with pytest.raises(InputError, match=r"says.py:LeNet cannot be tested fully convolutionally: fc3 knows one size"):
        fully_convolutional_options(f"{file}:LeNet")


@pytest.mark.parametrize("axis_name", ["", "axis_name='data', "])
def test_batch_normalization_over_one_value_names_the_layer(tmp_path, axis_name):
    file = tmp_path / "vectors.py"
    file.write_text(
        LENET.replace("nnx.BatchNorm(16, ", f"nnx.BatchNorm(120, {axis_name}")
        .replace("self.norm2(self.conv2(x))", "self.conv2(x)")
        .replace("self.fc3(x.reshape(len(x), -1))", "self.norm2(self.fc3(x.reshape(len(x), -1)))")
    )
    preprocessing = Preprocessing(8, 1, np.float32([0]), np.float32([1]), ("a", "b", "c"))
    spec = ModelSpec(f"{file}:LeNet", {}, 3, "softmax", preprocessing)
    one, two = (parallel.create_mesh(jax.devices()[:count]) for count in (1, 2))
    check_batch_norm(spec, spec.stacked(), one, 2)
    if axis_name:  # synchronized
        check_batch_norm(spec, spec.stacked(), two, 2)
    for mesh in (one,) if axis_name else (one, two):
        with pytest.raises(InputError, match=r"^norm2: batch normalization in training over 1 value .* 1 x 120"):
            check_batch_norm(spec, spec.stacked(), mesh, mesh.size)
    model = create(f"{file}:LeNet")
    freeze(model, ["norm2"])
    assert model(IMAGE[:1], train=True, rngs=keys()[:1]).shape == (1, 3)
    assert model(IMAGE[:1]).shape == (1, 3)
