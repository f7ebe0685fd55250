"""Every network by name: those of both papers, and a user's own; what their classes say of them."""

import functools
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from flax import nnx

from resnet_alexnet.errors import InputError, check_name, edits
from resnet_alexnet.files import is_guest
from resnet_alexnet.models import guests
from resnet_alexnet.models.alexnet import ALEXNETS
from resnet_alexnet.models.alexnet_cifar import AlexNetCifar
from resnet_alexnet.models.alexnet_owt import AlexNetOwt
from resnet_alexnet.models.resnet import RESNETS

MODELS: dict[str, Any] = {**ALEXNETS, "alexnet_owt": AlexNetOwt, "alexnet_cifar": AlexNetCifar, **RESNETS}


# [H15] section 4.2 and table 6 have these depths; the others of the same form are ours to try.
_PUBLISHED_CIFAR = {f"cifar_{kind}{depth}" for kind in ("resnet", "plain") for depth in (20, 32, 44, 56, 110, 1202)}


def _nearest(name: str) -> str:
    """The hint for an unknown name: the published network that is fewest edits away, then nearest in depth."""
    wanted = _letters(name)
    known = [model for model in MODELS if model in _PUBLISHED_CIFAR or not model.startswith("cifar_")]

    def distance(model: str) -> tuple[int, int]:
        return edits(wanted, _letters(model)), abs(_depth(model) - _depth(name))

    exact = [model for model in MODELS if _letters(model) in (wanted, f"cifar{wanted}")]
    best = exact[0] if exact else min(known, key=distance)
    return f", did you mean {best!r}?" if exact or distance(best)[0] <= len(wanted) // 3 else ""


def _letters(name: str) -> str:
    """A name in small letters, without what people put between its parts."""
    return re.sub(r"[\W_]", "", name.lower())


def _depth(name: str) -> int:
    digits = re.search(r"\d*$", name)
    return int(digits[0]) if digits and digits[0] else 0


def _families() -> str:
    """The names of MODELS, of those that differ in their depth alone the first two and the last."""
    families: dict[str, list[str]] = defaultdict(list)
    for name in MODELS:
        families[re.sub(r"\d+$", "", name)].append(name)
    short = ([*names[:2], "...", names[-1]] if len(names) > 9 else names for names in families.values())
    return ", ".join(name for names in short for name in names)


FAMILIES = _families()  # for messages


def check_model(name: str) -> None:
    """Raises InputError unless `name` is a model's; the message names the nearest and the families."""
    _class_of(name)


def _class_of(name: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The class of a model, and the arguments that its table fixes: those by position and those by keyword.

    Raises:
        InputError: there is no such model, or a guest's class is not as it should be.
    """
    if is_guest(name):
        return guests.load_class(name), (), {}
    if name not in MODELS:
        raise InputError(f"unknown model {name!r}{_nearest(name)} (allowed: {FAMILIES}, or your own, FILE.py:CLASS)")
    model = MODELS[name]
    return (model.func, model.args, model.keywords) if isinstance(model, functools.partial) else (model, (), {})


def model_options(name: str) -> tuple[str, ...]:
    """The options, by keyword, that the model called `name` has: what its table does not fix."""
    return tuple(option_types(name))


def option_types(name: str) -> dict[str, tuple[type, ...]]:
    """The types that the value of each of `model_options(name)` may have."""
    cls, args, keywords = _class_of(name)
    arguments = inspect.signature(functools.partial(cls.__init__, None, *args), eval_str=True).parameters.values()
    fixed = {*guests.SIZES, *guests.RANDOMNESS, *keywords, *_lacking_options(name)}
    by_keyword = (
        argument for argument in arguments if argument.kind not in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
    )
    return {argument.name: _types(argument) for argument in by_keyword if argument.name not in fixed}


def _types(option: inspect.Parameter) -> tuple[type, ...]:
    """The types that an option is annotated with, or else that of its default; `object` for any."""
    annotation = option.annotation
    if annotation is option.empty:
        annotation = object if option.default is None else type(option.default)
    kinds = (
        get_args(annotation) if isinstance(annotation, UnionType) or get_origin(annotation) is Union else [annotation]
    )
    kinds = [get_origin(kind) or kind for kind in kinds]
    return tuple(kind if isinstance(kind, type) else object for kind in kinds)


def _lacking_options(name: str) -> dict[str, str]:
    """The options of a model's class that the model itself lacks, and why."""
    cls, args, _ = _class_of(name)
    lacking: Callable[..., dict[str, str]] = getattr(cls, "lacking_options", lambda *_: {})
    return lacking(*args)


def fully_convolutional_options(name: str) -> dict[str, Any]:
    """The options with which the model called `name` takes whole images of any shape, with the weights it has.

    They are its class's `fully_convolutional`, none where it has no such attribute: AlexNet's first fully connected
    layer is a convolution, and residual networks average the whole last map.

    Raises:
        InputError: it cannot, which a text in place of the options says.
    """
    options = getattr(_class_of(name)[0], "fully_convolutional", {})
    if isinstance(options, str):
        raise InputError(f"{name} cannot be tested fully convolutionally: {options}")
    return dict(options)


def tower_axes(name: str) -> Mapping[str, int]:
    """The axis of each parameter along which the model called `name` is split over two devices, as its class says.

    Empty if its class has no attribute `tower_axes`: it cannot be split.
    """
    return getattr(_class_of(name)[0], "tower_axes", {})


def check_option(name: str, option: str, value: object) -> None:
    """Raises InputError unless the model has the option, for values of this type; a whole number also is a float."""
    if reason := _lacking_options(name).get(option):
        if value is None:
            return
        raise InputError(f"{option}={value!r}: {reason}, leave the option out")
    kinds = option_types(name)
    check_name(f"option of {name}", option, kinds)
    kinds = kinds[option]
    fits = bool in kinds if isinstance(value, bool) else isinstance(value, (*kinds, int) if float in kinds else kinds)
    if not fits and object not in kinds:
        allowed = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
        raise InputError(f"model.{option} is {value!r} (allowed: {allowed})")


def create_model(
    name: str, *, num_classes: int, image_size: int = 224, channels: int = 3, rngs: nnx.Rngs, **options: Any
) -> nnx.Module:
    """Creates the network called `name`, initialized as its paper does.

    Args:
        name: one of MODELS, or a user's own, "path/to/file.py:CLASS", see `guests`.
        num_classes: logits an image; 1 for a binary task with a single logit.
        image_size: side of the images in pixels.
        channels: color channels of the images.
        rngs: gives one key, `rngs.params()`.
        **options: the model's own, see its class.

    Raises:
        InputError: unknown name, option or value, or too small an image; a user's own class that is not as it should.
    """
    check_model(name)
    for option, value in options.items():
        check_option(name, option, value)
    sizes = {"num_classes": num_classes, "image_size": image_size, "channels": channels}
    for what, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{what} is {value!r}, needed is a whole number from 1 up")
    create = functools.partial(guests.create, name) if is_guest(name) else MODELS[name]
    return create(**sizes, key=rngs.params(), **options)
