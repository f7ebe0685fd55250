"""Every network of both papers by name."""

import functools
import inspect
from typing import Any, get_args

from flax import nnx

from resnet_alexnet.errors import InputError, check_name, nearest
from resnet_alexnet.models.alexnet import ALEXNETS
from resnet_alexnet.models.alexnet_cifar import AlexNetCifar
from resnet_alexnet.models.alexnet_owt import AlexNetOwt
from resnet_alexnet.models.resnet import RESNETS

MODELS = {**ALEXNETS, "alexnet_owt": AlexNetOwt, "alexnet_cifar": AlexNetCifar, **RESNETS}

# For messages: MODELS lists every CIFAR depth.
FAMILIES = (
    "alexnet, alexnet_one_tower, alexnet_owt, alexnet_cifar, resnet18, resnet34, resnet50, resnet101, resnet152, "
    "plain18, plain34, cifar_resnet{6n+2}, cifar_plain{6n+2} with n from 1 to 200"
)


def check_model(name: str) -> None:
    """Raises InputError unless `name` is a model's; the message names the nearest and the families."""
    if name not in MODELS:
        raise InputError(f"unknown model {name!r}{nearest(name, MODELS)} (allowed: {FAMILIES})")


def model_options(name: str) -> tuple[str, ...]:
    """The options, by keyword, that the model called `name` has: what its table does not fix."""
    return tuple(option_types(name))


def option_types(name: str) -> dict[str, tuple[type, ...]]:
    """The types that the value of each of `model_options(name)` may have."""
    check_model(name)
    model = MODELS[name]
    fixed = {"num_classes", "image_size", "channels", "key"}
    if isinstance(model, functools.partial):
        fixed |= model.keywords.keys()
        model = model.func
    options = (p for p in inspect.signature(model.__init__).parameters.values() if p.kind is p.KEYWORD_ONLY)
    return {p.name: get_args(p.annotation) or (p.annotation,) for p in options if p.name not in fixed}


def fully_convolutional_options(name: str) -> dict[str, str]:
    """The options with which the model called `name` takes whole images of any shape, with the weights it has.

    AlexNet needs none, its first fully connected layer being a convolution, nor do residual nets, which average the
    whole last map. torchvision's AlexNet would shrink the last map.

    Raises:
        InputError: it cannot: its untied weights know one image size.
    """
    check_model(name)
    if name == "alexnet_cifar":
        raise InputError(
            f"{name} cannot be tested fully convolutionally: its locally connected layers have their own weights at "
            "every position of one image size"
        )
    return {"last_map": "whole"} if name == "alexnet_owt" else {}


def _check_type(name: str, option: str, value: object) -> None:
    """Raises InputError unless the value is of a type that the option has; a whole number also is a float."""
    kinds = option_types(name)[option]
    fits = bool in kinds if isinstance(value, bool) else isinstance(value, (*kinds, int) if float in kinds else kinds)
    if not fits:
        allowed = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
        raise InputError(f"model.{option} is {value!r} (allowed: {allowed})")


def create_model(
    name: str, *, num_classes: int, image_size: int = 224, channels: int = 3, rngs: nnx.Rngs, **options: Any
) -> nnx.Module:
    """Creates the network called `name`, initialized as its paper does.

    Args:
        name: one of MODELS.
        num_classes: logits an image; 1 for a binary task with a single logit.
        image_size: side of the images in pixels.
        channels: color channels of the images.
        rngs: gives one key, `rngs.params()`.
        **options: the model's own, see its class.

    Raises:
        InputError: unknown name, option or value, or too small an image.
    """
    check_model(name)
    for option in options:
        check_name(f"option of {name}", option, model_options(name))
        _check_type(name, option, options[option])
    for what, value in (("num_classes", num_classes), ("channels", channels), ("image_size", image_size)):
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{what} is {value!r}, needed is a whole number from 1 up")
    return MODELS[name](num_classes=num_classes, image_size=image_size, channels=channels, key=rngs.params(), **options)
