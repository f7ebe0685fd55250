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
from resnet_alexnet.workdir.metrics_log import validation_errors


def load_model(path: Path | str, model: str, **options: Any) -> nnx.Module:
    """Loads a weight file into a model, ready to call; see `load_network`.

    Raises:
        InputError: see `load_network`.
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
    """Loads the network in a run folder or a weight file.

    Args:
        path: a run folder, or a weight file: a file of this project, a .safetensors file with torchvision's names, or
            a file that torch saved. From a run folder the moving average of the weights is loaded if the run kept one.
        step: the checkpoint of a run folder: a step, "last" or "best" (by validation error).
        model: for a weight file, one of `models.MODELS`; not needed if the file itself says which. A user's own
            network, "path/to/file.py:CLASS", must be given: a weight file never makes us run a user's code.
        num_classes: for a weight file, the expected number of logits; None accepts any.
        preprocessing: for a weight file, replaces the preprocessing in the file, or the usual one of such weights.
        **options: options of the model. Those that the origin of the weights implies are set already: torch's
            shortcuts, strides and paddings.

    Raises:
        InputError: `path` does not exist, cannot be read, is damaged or holds another network, or an option conflicts
            with the weights.
    """
    if os.path.isdir(path):
        return _from_run(path, step)
    if not os.path.exists(path):
        raise InputError(f"{path} does not exist (allowed: a run folder or a weight file)")
    if step != "last":
        raise InputError(f"{path} is a weight file, which has no checkpoint {step!r} (allowed: a run folder)")
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
    """Builds a network from the contents of a weight file; see `load_network`. `where` is its path for error messages.

    Raises:
        InputError: see `load_network`.
    """
    model = None if model is None else absolute_guest(model)
    spec = weights.read_spec(contents, where=where, model=model)
    if spec is None:
        spec = _torch_spec(contents.arrays, model, where)
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


def _torch_spec(arrays: Mapping[str, np.ndarray], model: str | None, where: str) -> ModelSpec:
    """The spec of weights in torchvision's names, whose file has none, for the given model."""
    if model is None:
        raise InputError(
            f"{where} does not say which network it holds: convert it with python -m resnet_alexnet.pretrained.convert "
            f"--model=NAME --input={where} --output=FILE.safetensors"
        )
    check_model(model)
    if _in_our_names(arrays):
        raise InputError(
            f"{where} has lost the metadata of the network that weight files carry: write it again from its run folder"
        )
    layout = torchvision.layout(model, 224)
    head = arrays.get(layout.head, np.zeros((1000, 1)))  # a missing array is an error later
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
        raise InputError(f"{where} has {logits} logits, but {classes} class names (allowed: one per logit)")


def _with_options(spec: ModelSpec, options: Mapping[str, Any], where: str) -> ModelSpec:
    """The spec with some options changed that its weights allow to change.

    Raises:
        InputError: an option does not exist, or the weights were trained with another value of it.
    """
    for name in options:
        check_option(spec.model, name, options[name])
    # `last_map` is always allowed: it only says how images larger than the network's own are handled.
    others = differing_options(spec, {name: options[name] for name in options if name != "last_map"})
    if others:
        given = ", ".join(f"{name}={options[name]!r}" for name in others)
        theirs = ", ".join(f"{name}={spec.options.get(name, 'the default')!r}" for name in others)
        raise InputError(f"{given} does not match the weights in {where}, which need {theirs}")
    return dataclasses.replace(spec, options={**spec.options, **options})


def _from_run(workdir: Path, step: int | str) -> TrainedModel:
    if not (workdir / CONFIG_FILE).is_file():
        raise InputError(f"{workdir} is not a run folder: it has no {CONFIG_FILE}")
    try:
        errors = validation_errors(workdir) if step == "best" else None
        step, leaves, metadata, warnings = checkpoint.read(workdir / "checkpoints", step, errors=errors)
    except checkpoint.DamagedCheckpointError as error:
        raise InputError(str(error)) from None
    for warning in warnings:
        print(f"warning: {warning}; using checkpoint {step}", file=sys.stderr)
    averaged = any(name.startswith("ema/") for name in leaves)
    prefix = "ema/" if averaged else ""
    weights = {
        name.removeprefix(prefix): leaf
        for name, leaf in leaves.items()
        if name.startswith((f"{prefix}params/", f"{prefix}batch_stats/"))
    }
    return from_leaves(ModelSpec.from_json(metadata["network"]), weights, where=f"checkpoint {step} of {workdir}")
