"""Networks in the weight files of other libraries: which arrays are taken, what they show, and what has to be presumed.

A file of names and arrays does not say where a network pads, strides and pools, nor how images were preprocessed. What
the origin of such files makes likely is presumed, said in `TrainedModel.notes`, and can be stated otherwise.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.models import check_model, check_option, option_types
from resnet_alexnet.pretrained import mapping, names, structure, torchvision
from resnet_alexnet.pretrained.names import NamedNetwork
from resnet_alexnet.pretrained.network import ModelSpec, TrainedModel, check_finite, from_leaves, shapes_of
from resnet_alexnet.pretrained.preprocessing import Restate, unchanged
from resnet_alexnet.pretrained.state_dict import WeightFile
from resnet_alexnet.pretrained.structure import Structure

CHANNEL_ORDERS = ("rgb", "bgr")
_WITHOUT_HEAD = "it cannot classify, but serves as finetune.weights, and for features and kernels"
_MOST_NAMES, _LONGEST_NAME = 6, 60  # that messages list; in letters


def read_network(
    file: WeightFile,
    *,
    where: str,
    model: str | None = None,
    restate: Restate = unchanged,
    state_dict: str | None = None,
    rename: Sequence[tuple[str, str]] = (),
    channel_order: str = "rgb",
    partial: bool = False,
    **options: Any,
) -> TrainedModel:
    """Reads the network in a weight file of another library; `load.load_network` explains the arguments.

    Raises:
        InputError: the file holds no network of the papers, or another one; or an argument does not go with it.
    """
    check_name("channel_order", channel_order, CHANNEL_ORDERS)
    if model is not None:
        check_model(model)
    given = names.rename(file.state_dicts, rename, where=where)
    by_key = {key: names.find_networks(key, arrays) for key, arrays in given.items()}
    found = [network for networks in by_key.values() for network in networks]
    unread = [key or "''" for key, networks in by_key.items() if not networks]
    if not found:
        raise InputError(_unknown_names(given, where))
    network = _choose(found, state_dict, where)
    dropped = _dropped(network, where, partial=partial)
    arrays, moved = structure.fold_biases(network.arrays)
    shown = structure.read_structure(arrays, where=where)
    name = _model(shown, model, where)
    cifar = name.startswith("cifar")
    num_logits = shown.num_logits or (10 if cifar else 1000)
    usual = torchvision.preprocessing(cifar=cifar, num_classes=num_logits, channels=shown.channels)
    preprocessing = restate(usual)
    presumed = _presumed(name, shown, preprocessing.image_size, network.implied)
    stated = _checked(name, shown, options, where)
    spec = ModelSpec(
        model=name,
        options={**presumed, **_shown(name, shown), **stated},
        num_logits=num_logits,
        scores="softmax",
        preprocessing=preprocessing,
    )
    if channel_order == "bgr":
        first = next(iter({"conv1.weight", "features.0.weight"} & arrays.keys()))
        arrays[first] = arrays[first][:, ::-1]
    return _build(
        spec,
        arrays,
        where=where,
        partial=partial,
        notes=(
            *_choice_notes(network, found, unread),
            *([f"left out, a last layer of another form: {_listed(dropped)}"] if dropped else []),
            *([] if model else [f"{where} is read as {name}, by its arrays" + _or_plain(shown)]),
            *([f"the biases of {len(moved)} convolutions are moved into batch normalization"] if moved else []),
            *_presumption_notes(presumed, options),
            *([f"presumed {'; '.join(usual.lines())}"] if preprocessing is usual else []),
        ),
    )


def _build(
    spec: ModelSpec, arrays: Mapping[str, np.ndarray], *, where: str, partial: bool, notes: tuple[str, ...]
) -> TrainedModel:
    """The network of these arrays; with `partial` it may lack whole layers."""
    table = torchvision.ALEXNET_OWT if spec.model == "alexnet_owt" else torchvision.RESNET
    shapes = shapes_of(spec.shapes())
    missing = mapping.missing_layers(table, arrays, shapes)
    if missing and not partial:
        raise InputError(f"{where}, as {spec.model}, lacks {', '.join(missing[:_MOST_NAMES])}: {_WITHOUT_HEAD}")
    there = mapping.without_layers(table, shapes, missing)
    leaves = mapping.to_ours(table, arrays, there, where=f"{where}, as {spec.model}")
    check_finite(arrays, where=where)
    return from_leaves(spec, leaves, where=where, missing=shapes.keys() - there.keys(), notes=notes)


def _choose(found: Sequence[NamedNetwork], state_dict: str | None, where: str) -> NamedNetwork:
    """The network to take: the one that is asked for, or the only one that is not a moving average, or the only one."""
    if state_dict is not None:
        for network in found:
            if network.name == state_dict:
                return network
        raise InputError(f"{where} has no state dict {state_dict!r} (it has: {_names(found)})")
    plain = [network for network in found if not network.averaged] or found
    if len(plain) > 1:
        raise InputError(
            f"{where} holds several networks: choose one with --state_dict=NAME (it has: {_names(found)})"
            f"{_in_training(where, '--state_dict=NAME')}"
        )
    return plain[0]


def _dropped(network: NamedNetwork, where: str, *, partial: bool) -> tuple[str, ...]:
    """The names of last layers of another form, which a part of a network leaves out.

    Raises:
        InputError: there are other names of unknown layers; or the network is to classify.
    """
    dropped = network.heads if partial else ()
    unexpected = [name for name in network.unexpected if name not in dropped]
    if unexpected and network.heads == network.unexpected:
        raise InputError(
            f"{where} has last layers of another form than the papers' networks ({_listed(unexpected)}): "
            f"{_WITHOUT_HEAD}"
        )
    if unexpected:
        remedy = (
            "" if any(re.search(r"\d\.\d", name) for name in unexpected) else "; --rename='NAME=' leaves an array out"
        )
        raise InputError(f"{where} holds arrays of no layer of the papers' networks ({_listed(unexpected)}){remedy}")
    return dropped


def _in_training(where: str, flag: str) -> str:
    """What to do instead where the file is finetune.weights, which has no such flags."""
    return f"; for finetune.weights, write it anew: convert --input={where} --output=FILE.safetensors {flag}"


def _names(found: Sequence[NamedNetwork]) -> str:
    return ", ".join(network.name or "''" for network in found)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:_LONGEST_NAME] for name in names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)


def _unknown_names(given: Mapping[str, Mapping[str, np.ndarray]], where: str) -> str:
    """What to say of a file none of whose names is known."""
    largest = max(given.values(), key=len, default={})
    return (
        f"{where} holds {len(largest)} arrays, but no network under names that are known ({_listed(list(largest))}): "
        "change them to torchvision's, such as conv1.weight, layer1.0.conv1.weight and fc.weight, with --rename=OLD=NEW"
        f"{_in_training(where, '--rename=OLD=NEW')}"
    )


def _model(shown: Structure, model: str | None, where: str) -> str:
    """The model to build: the one that is named, if the arrays are its."""
    if model in (None, shown.model):
        return shown.model
    if model == shown.plain:
        return model
    if model == "alexnet" and shown.model == "alexnet_owt":
        raise InputError(f"{where} holds torchvision's alexnet, of one tower, which is alexnet_owt here: name that")
    raise InputError(f"{where} holds the weights of {shown.model}, not of {model}")


def _or_plain(shown: Structure) -> str:
    return f" (which {shown.plain} has too: name it if it is that)" if shown.plain else ""


def _shown(name: str, shown: Structure) -> dict[str, Any]:
    return {option: value for option, value in shown.options.items() if option in option_types(name)}


def _presumed(name: str, shown: Structure, image_size: int, implied: Mapping[str, str]) -> dict[str, Any]:
    """The options that the arrays do not show: those that the names imply, else as most libraries have them.

    Source: torchvision; for the zero channels github.com/akamaster/pytorch_resnet_cifar10.
    """
    if name == "alexnet_owt":
        return dict(torchvision.layout(name, image_size).options)
    likely = {"activation": "relu", "stride_in": "3x3", "pool_padding": "torch", "bn_unbiased_variance": True}
    if shown.options.get("shortcut") == "A":
        likely["shortcut_padding"] = "both"
        likely |= {option: value for option, value in implied.items() if option == "shortcut_padding"}
    likely |= {option: value for option, value in implied.items() if option != "shortcut_padding"}
    return {option: value for option, value in likely.items() if option in option_types(name)}


def _checked(name: str, shown: Structure, options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options that are stated, none of which the arrays contradict."""
    seen = {**shown.options, **shown.widths}
    for option, value in options.items():
        check_option(name, option, value)
        if option in seen and value not in (None, seen[option]):
            raise InputError(
                f"{option}={value!r} does not match the arrays in {where}, which show {option}={seen[option]!r}"
            )
    return {option: value for option, value in options.items() if option not in seen}


def _choice_notes(network: NamedNetwork, found: Sequence[NamedNetwork], unread: Sequence[str]) -> list[str]:
    """Says which of several networks in the file is taken, and what is left out."""
    others = [other.name or "''" for other in found if other is not network]
    notes = []
    if others:
        notes.append(f"the state dict {network.name!r} is taken; --state_dict=NAME takes another: {', '.join(others)}")
    elif network.averaged:
        only = "" if unread else "; the file has no others"
        notes.append(f"the state dict {network.name!r} is taken, a moving average of weights{only}")
    if unread:
        notes.append(f"not read, as their names are not known: {_listed(unread)}")
    if network.left_out:
        notes.append(f"left out, as not of the network: {_listed(network.left_out)}")
    return notes


def _presumption_notes(presumed: Mapping[str, Any], stated: Mapping[str, Any]) -> list[str]:
    """Says which options are presumed."""
    flags = ("shortcut_padding", "stride_in", "pool_padding")
    options = [f"{name}={value}" for name, value in presumed.items() if name in flags and name not in stated]
    return (
        [f"presumed, as the arrays do not show it (flags state it otherwise): {', '.join(options)}"] if options else []
    )
