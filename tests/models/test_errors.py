"""Every bad argument of create_model and every bad image is named, with what is allowed."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from resnet_alexnet.errors import InputError
from resnet_alexnet.models import create_model


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "resnet51",
            {},
            "unknown model 'resnet51', did you mean 'resnet50'.*resnet14, ..., cifar_resnet1202",
        ),
        ("cifar_resnet21", {}, "unknown model"),
        ("resnet50", {"shortcuts": "A"}, "option of resnet50 is 'shortcuts', did you mean 'shortcut'"),
        ("alexnet_one_tower", {"towers": 2}, "option of alexnet_one_tower is 'towers'"),
        ("resnet50", {"shortcut": "D"}, r"shortcut is 'D' \(allowed: A, B, C\)"),
        ("resnet50", {"shortcut": ""}, "shortcut is ''"),
        ("cifar_resnet8", {"shortcut_padding": "before"}, "shortcut_padding is 'before'"),
        ("cifar_resnet8", {"shortcut": "B", "shortcut_padding": "both"}, "only shortcut='A' pads"),
        ("resnet50", {"shortcut_padding": "behind"}, "shortcut_padding='behind': only shortcut='A' pads"),
        ("plain34", {"shortcut_padding": "both"}, "shortcut_padding='both': a plain network"),
        ("resnet50", {"stride_in": "2x2"}, "stride_in is '2x2'"),
        ("resnet18", {"stride_in": "3x3"}, "stride_in='3x3': only bottleneck networks"),
        ("plain34", {"shortcut": "A"}, "shortcut='A': a plain network"),
        ("plain34", {"zero_init_last_gamma": True}, "zero_init_last_gamma=True: a plain network"),
        ("cifar_resnet20", {"pool_padding": "torch"}, "pool_padding='torch': a CIFAR network"),
        ("resnet18", {"pool_padding": "same"}, "pool_padding is 'same'"),
        ("resnet18", {"activation": "rleu"}, "activation is 'rleu', did you mean 'relu'"),
        ("resnet18", {"bn_group": 0}, "bn_group is 0"),
        ("resnet18", {"bn_momentum": 1.0}, "bn_momentum is 1.0"),
        ("alexnet", {"lrn_order": "after"}, "lrn_order is 'after'"),
        ("alexnet", {"lrn_size": 4}, "lrn_size=4"),
        ("alexnet", {"pooling": "max"}, "pooling is 'max'"),
        ("alexnet", {"dropout": 1.5}, "dropout is 1.5"),
        ("alexnet", {"dropout_scaling": "train"}, "dropout_scaling is 'train'"),
        ("alexnet", {"init": "torch"}, "init is 'torch'"),
        ("alexnet", {"towers": 3}, "towers is 3"),
        (
            "alexnet",
            {"image_size": 62},
            r"image_size=62 is too small for AlexNet, the smallest is 63 \(below: alexnet_ci",
        ),
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
        ("alexnet", (1, 180, 224, 3), "image of 180x224 pixels is too small, the smallest is 223x223"),
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
