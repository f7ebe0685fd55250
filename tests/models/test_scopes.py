"""Operations of compiled programs, and so of profiles, are named by the layers that they are of."""

import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from resnet_alexnet.models import create_model
from resnet_alexnet.models.trace import layer_calls

SIZES = {"cifar_resnet8": (8, 1), "alexnet_cifar": (24, 3), "alexnet_owt": (64, 3), "alexnet": (67, 3)}


@pytest.mark.parametrize("name", SIZES)
def test_the_forward_and_the_backward_pass_name_every_layer(name):
    size, channels = SIZES[name]
    options = {"num_classes": 3, "image_size": size, "channels": channels}
    model = nnx.eval_shape(lambda: create_model(name, **options, rngs=nnx.Rngs(0)))
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    image = jax.ShapeDtypeStruct((2, size, size, channels), jnp.float32)

    def loss(params, rest, image):
        return jnp.sum(nnx.merge(graphdef, params, rest)(image))

    text = jax.jit(jax.grad(loss)).lower(params, rest, image).as_text(debug_info=True)
    names = set(re.findall(r"[\w.()/]+", text))
    with_weights = [call.path for call in layer_calls(model, image.shape[1:]) if hasattr(call.layer, "kernel")]
    assert len(with_weights) >= 5
    for path in with_weights:
        found = [each for each in names if re.search(rf"\b{re.escape(path)}\b", each)]
        assert any("transpose" not in each for each in found), path
        assert any("transpose" in each for each in found), path
