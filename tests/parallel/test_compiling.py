"""What XLA is told about the programs of steps on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from resnet_alexnet import parallel
from resnet_alexnet.parallel import compiling


@pytest.fixture
def asked_again():
    compiling._known_on_cpu.cache_clear()
    yield
    compiling._known_on_cpu.cache_clear()


def convolved(params, batch_stats, batch):
    return lax.conv_general_dilated(batch["image"], params, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def compiled():
    mesh = parallel.create_mesh(jax.devices()[:1])
    arguments = (jnp.ones((3, 3, 32, 32)), {}, {"image": jnp.ones((8, 16, 16, 32))})
    return parallel.parallel_rows(convolved, mesh).lower(*arguments).compile().as_text() or ""


def test_convolutions_are_not_of_ynnpack(asked_again):
    assert compiling.compiler_options(parallel.create_mesh())
    program = compiled()
    assert "convolution(" in program or "__onednn$convolution" in program
    assert "ynn_fusion" not in program


def test_where_xla_can_call_onednn_convolutions_and_their_gradients_stay_the_same(asked_again, monkeypatch):
    mesh = parallel.create_mesh(jax.devices()[:1])
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (4, 9, 9, 16)), jax.random.normal(keys[1], (3, 3, 16, 32))
    dy = jax.random.normal(keys[2], (4, 9, 9, 32))

    def gradients(params, batch_stats, batch):
        y, pull = jax.vjp(lambda x, kernel: convolved(kernel, {}, {"image": x}), batch["image"], params)
        return (y, *pull(batch["dy"]))

    def computed():
        rows = jax.jit(gradients, compiler_options=compiling.compiler_options(mesh))
        return rows(kernel, {}, {"image": x, "dy": dy})

    fast = computed()
    monkeypatch.setattr(compiling, "_ON_CPU", ())
    compiling._known_on_cpu.cache_clear()
    for one, other in zip(fast, computed(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("options", [{"xla_cpu_of_no_version": "1"}, {"xla_cpu_experimental_ynn_fusion_type": "NONE"}])
def test_options_that_this_xla_does_not_know_are_left_out(asked_again, monkeypatch, options):
    monkeypatch.setattr(compiling, "_ON_CPU", (options,))
    assert compiling.compiler_options(parallel.create_mesh()) == {}
    assert "convolution(" in compiled()
    mesh = parallel.create_mesh(jax.devices()[:1])
    image = jnp.ones((2, 4, 4, 1))
    result = parallel.parallel_rows(convolved, mesh)(jnp.ones((1, 1, 1, 1)), {}, {"image": image})
    np.testing.assert_array_equal(result, image)
