"""The count of arithmetic and traffic against numbers worked out by hand."""

from collections import Counter

import pytest
from flax import nnx

from resnet_alexnet.models import create_model
from resnet_alexnet.speed.work import network_kernels
from tests.support import toy_nets


def kernels(name, *, image_size, num_classes=10, batch_size=1, activation_bytes=4, train=True, **options):
    sizes = {"num_classes": num_classes, "image_size": image_size}
    model = nnx.eval_shape(lambda: create_model(name, **sizes, rngs=nnx.Rngs(0), **options))
    return network_kernels(
        model,
        (image_size, image_size, 3),
        batch_size=batch_size,
        activation_bytes=activation_bytes,
        train=train,
    )


def by_layer(found, layer):
    return {kernel.what: (kernel.flops, kernel.bytes) for kernel in found if kernel.layer == layer}


def test_a_convolution_is_counted_three_times_and_the_first_twice():
    found = kernels("cifar_resnet8", image_size=32, batch_size=2)
    first = 2 * 32 * 32 * 16 * 27, 4 * (32 * 32 * 3 + 32 * 32 * 16) + 4 * 27 * 16 / 2
    assert by_layer(found, "stem.conv1.conv") == {"forward": first, "kernel gradient": first}
    later = 2 * 16 * 16 * 32 * 9 * 16, 4 * (32 * 32 * 16 + 16 * 16 * 32) + 4 * 9 * 16 * 32 / 2
    strided = by_layer(found, "stages.1.0.conv1.conv")
    assert strided == dict.fromkeys(("forward", "input gradient", "kernel gradient"), later)


def test_what_only_memory_limits_is_counted_in_passes():
    found = kernels("cifar_resnet8", image_size=32, activation_bytes=2)
    map_bytes = 2 * 32 * 32 * 16
    assert by_layer(found, "stem.conv1.norm") == {"forward": (0, 3 * map_bytes), "backward": (0, 5 * map_bytes)}
    last = by_layer(found, "stages.0.0.conv2.norm")
    assert last == {**by_layer(found, "stem.conv1.norm"), "addition": (0, 3 * map_bytes)}
    assert sum(kernel.what == "addition" for kernel in found) == 3  # blocks
    pool = by_layer(kernels("resnet18", image_size=64), "stem.pool1")
    assert pool == {"forward": (0, 4 * 64 * (32**2 + 16**2)), "backward": (0, 8 * 64 * (32**2 + 16**2))}


def test_a_users_own_network_is_counted_likewise():
    found = kernels(f"{toy_nets.__file__}:SmallNet", image_size=8)
    assert by_layer(found, "norm1") == {"forward": (0, 3 * 4 * 512), "backward": (0, 5 * 4 * 512)}
    assert by_layer(found, "conv1")["forward"][0] == 2 * 8 * 8 * 8 * 27
    assert set(by_layer(found, "fc2")) == {"forward", "input gradient", "kernel gradient"}


def test_a_plain_network_adds_nothing():
    assert "addition" not in {kernel.what for kernel in kernels("cifar_plain20", image_size=32)}


def test_the_optimizer_reads_and_writes_the_parameters_once_a_step():
    (update,) = by_layer(
        kernels("resnet18", image_size=224, num_classes=1000, batch_size=8, shortcut="B"), "optimizer"
    ).values()
    assert update == (0, 5 * 4 * 11_689_512 / 8)  # torchvision's count of parameters


def test_inference_has_the_forward_pass_only():
    found = kernels("cifar_resnet8", image_size=32, train=False)
    assert set(Counter(kernel.what for kernel in found)) == {"forward", "addition"}
    assert by_layer(found, "stem.conv1.norm") == {"forward": (0, 2 * 4 * 32 * 32 * 16)}


@pytest.mark.parametrize(
    ("name", "options", "gigaflops"),
    [
        ("resnet50", {"stride_in": "3x3"}, 24.30),  # 4.09 G multiply-adds, three times, but for the stem's input
        ("alexnet", {}, 4.136),  # 0.7242 G of section 3.5 of [K12], likewise
    ],
)
def test_the_arithmetic_of_a_training_step(name, options, gigaflops):
    found = kernels(name, image_size=224, num_classes=1000, batch_size=256, activation_bytes=2, **options)
    assert sum(kernel.flops for kernel in found) / 1e9 == pytest.approx(gigaflops, abs=0.001)
