"""Loads trained networks from run folders and weight files."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import absolute_guest
from resnet_alexnet.models import check_model, check_option
from resnet_alexnet.pretrained import mapping, state_dict, torchvision, weights
from resnet_alexnet.pretrained.network import (
    ModelSpec,
    TrainedModel,
    check_finite,
    differing_options,
    from_leaves,
    shapes_of,
)
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.workdir import checkpoint
from resnet_alexnet.workdir.config import CONFIG_FILE


def load_model(path: Path | str, model: str, **options: Any) -> nnx.Module:
    """The model called `model` with the weights in a file, to call; see `load_network`.

    Raises:
        InputError: as `load_network`.
    """
    return load_network(Path(path), model=model, **options).module()


def load_network(
    path: Path,
    *,
    step: int | str = "last",
    model: str | None = None,
    num_classes: int | None = None,
    preprocessing: Preprocessing | None = None,
    **options: Any,
) -> TrainedModel:
    """The network in a run folder or a weight file.

    Args:
        path: a run folder, of which the moving average is taken where the run kept one; or a weight file: one of ours,
            a .safetensors file with torchvision's names, or what torch saved.
        step: of a run folder, which checkpoint: a step, "last" or "best" (by validation error).
        model: of a weight file, one of `models.MODELS`; not needed where the file says what it holds. Or a user's own,
            "path/to/file.py:CLASS", which must be named: a weight file makes nobody run code.
        num_classes: of a weight file, logits that are expected; None takes what there is.
        preprocessing: of a weight file, in place of what it says, or of what is usual for such weights.
        **options: of the model. What the weights' origin implies is set: torch's shortcuts, strides and paddings.

    Raises:
        InputError: there is no such thing, it cannot be read, is damaged or of another network, or an option does not
            go with it.
    """
    if os.path.isdir(path):
        return _from_run(path, step)
    if not os.path.exists(path):
        raise InputError(f"{path}: there is no such run folder or weight file")
    if step != "last":
        raise InputError(f"{path} is not a run folder: a weight file has no checkpoint {step!r} to choose")
    return network_of(
        state_dict.read(path),
        where=str(path),
        model=model,
        num_classes=num_classes,
        preprocessing=preprocessing,
        **options,
    )


def network_of(
    contents: state_dict.StateDict,
    *,
    where: str,
    model: str | None = None,
    num_classes: int | None = None,
    preprocessing: Preprocessing | None = None,
    **options: Any,
) -> TrainedModel:
    """The network that the contents of a weight file are; `where` says whose in errors, else as `load_network`.

    Raises:
        InputError: as `load_network`.
    """
    model = None if model is None else absolute_guest(model)
    spec = weights.description_of(contents, where=where, model=model)
    if spec is None:
        spec = _describe(contents.arrays, model, where)
    elif model not in (None, spec.model):
        raise InputError(f"{where} holds the weights of {spec.model}, not of {model}")
    if num_classes not in (None, spec.num_logits):
        raise InputError(f"{where} has {spec.num_logits} logits, not {num_classes}")
    if preprocessing is not None:
        spec = dataclasses.replace(spec, preprocessing=preprocessing)
    _check_classes(spec, where)
    spec = _with_options(spec, options, where)
    leaves = contents.arrays
    if not _in_our_names(leaves):
        layout = torchvision.layout(spec.model, spec.preprocessing.image_size)
        shapes = shapes_of(spec.shapes())
        leaves = mapping.to_ours(layout.table, leaves, shapes, where=f"{where}, as {spec.model}")
        check_finite(contents.arrays, where=where)
    return from_leaves(spec, leaves, where=where)


def _describe(arrays: Mapping[str, np.ndarray], model: str | None, where: str) -> ModelSpec:
    """What weights without a description are, by the model that they are said to be of."""
    if model is None:
        raise InputError(
            f"{where} does not say which network it holds: python -m resnet_alexnet.pretrained.convert --model=NAME "
            f"--input={where} --output=FILE.safetensors makes a file that does"
        )
    check_model(model)
    if _in_our_names(arrays):
        raise InputError(f"{where} has lost the description that our weight files carry (save it anew, from its run)")
    layout = torchvision.layout(model, 224)
    head = arrays.get(layout.head, np.zeros((1000, 1)))  # that it is missing is said later
    return ModelSpec(
        model=model,
        options={**layout.options, **layout.in_training},
        num_logits=head.shape[0],
        scores="softmax",
        preprocessing=torchvision.preprocessing(layout, head.shape[0]),
    )


def _in_our_names(arrays: Mapping[str, np.ndarray]) -> bool:
    return any(name.startswith("params/") for name in arrays)


def _check_classes(spec: ModelSpec, where: str) -> None:
    logits, classes = spec.num_logits, len(spec.preprocessing.classes)
    if logits != classes and not (logits == 1 and classes == 2):
        raise InputError(f"{where} has {logits} logits, but {classes} classes are named")


def _with_options(spec: ModelSpec, options: Mapping[str, Any], where: str) -> ModelSpec:
    """The description with some options set that leave its weights what they are.

    Raises:
        InputError: there is no such option, or the weights are of a network with another value.
    """
    for name in options:
        check_option(spec.model, name, options[name])
    # `last_map` says what becomes of images larger than the network's own.
    others = differing_options(spec, {name: options[name] for name in options if name != "last_map"})
    if others:
        given = ", ".join(f"{name}={options[name]!r}" for name in others)
        theirs = ", ".join(f"{name}={spec.options.get(name, 'the default')!r}" for name in others)
        raise InputError(f"{given} does not go with the weights in {where}, which are for {theirs}")
    return dataclasses.replace(spec, options={**spec.options, **options})


def _from_run(workdir: Path, step: int | str) -> TrainedModel:
    if not (workdir / CONFIG_FILE).is_file():
        raise InputError(f"{workdir} is no run folder: it holds no {CONFIG_FILE}")
    try:
        step, leaves, metadata, warnings = checkpoint.read(workdir / "checkpoints", step)
    except checkpoint.DamagedCheckpointError as error:
        raise InputError(str(error)) from None
    for warning in warnings:
        print(f"warning: {warning}; checkpoint {step} is taken", file=sys.stderr)
    averaged = any(name.startswith("ema/") for name in leaves)
    prefix = "ema/" if averaged else ""
    weights = {
        name.removeprefix(prefix): leaf
        for name, leaf in leaves.items()
        if name.startswith((f"{prefix}params/", f"{prefix}batch_stats/"))
    }
    return from_leaves(ModelSpec.from_json(metadata["network"]), weights, where=f"checkpoint {step} of {workdir}")
