"""Loads trained networks from run folders and weight files."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from resnet_alexnet.data.sources import ProgressFn, no_progress
from resnet_alexnet.errors import InputError, printable
from resnet_alexnet.files import absolute_guest
from resnet_alexnet.models import check_option
from resnet_alexnet.pretrained import mapping, published, state_dict, third_party, torchvision, weights
from resnet_alexnet.pretrained.network import (
    ModelSpec,
    TrainedModel,
    differing_options,
    from_leaves,
    shapes_of,
)
from resnet_alexnet.pretrained.preprocessing import Restate, unchanged
from resnet_alexnet.workdir.config import CONFIG_FILE
from resnet_alexnet.workdir.metrics_log import validation_errors


def load_model(path: Path | str, model: str, **options: Any) -> nnx.Module:
    """Loads a weight file into a model, ready to call; see `load_network`.

    Raises:
        InputError: see `load_network`.
    """
    return load_network(Path(path), model=model, **options).module()


def load_network(
    path: Path | str,
    *,
    step: int | str = "last",
    model: str | None = None,
    num_classes: int | None = None,
    restate: Restate = unchanged,
    partial: bool = False,
    progress: ProgressFn = no_progress,
    **options: Any,
) -> TrainedModel:
    """Loads the network in a run folder or a weight file. Notes on how a file was read go to standard error.

    Args:
        path: a run folder, or a weight file: a file of this project, a file of another library, or the name of a
            published one, see `published`. From a run folder the moving average of the weights is loaded if the run
            kept one.
        step: the checkpoint of a run folder: a step, "last" or "best" (by validation error).
        model: the expected model, one of `models.MODELS`. A user's own network, "path/to/file.py:CLASS", must be named
            for a weight file: it never makes us run a user's code.
        num_classes: the expected number of logits; None accepts any.
        restate: for a weight file, (the preprocessing in the file, or the usual one of such weights) -> the
            preprocessing to use.
        partial: allow a file of another library without its last layers, whose arrays are NaN then.
        progress: shows the progress of a download.
        **options: options of the model. Those that the arrays of a file show or that its origin implies are set
            already. For a file of another library also `state_dict`, which of its state dicts to take;
            `rename`, pairs of a regular expression and its replacement, which change the names of its arrays; and
            `channel_order`, "bgr" if the network expects blue first.

    Raises:
        InputError: `path` does not exist, cannot be read, is damaged or holds another network, or an option conflicts
            with the weights.
    """
    expected = {"model": None if model is None else absolute_guest(model), "num_classes": num_classes}
    if os.path.isdir(path):
        network = _from_run(Path(path), step)
        _check_expected(network.spec, str(path), **expected)
        return dataclasses.replace(network, spec=_with_options(network.spec, options, str(path)))
    if not os.path.exists(path) and (found := published.find(str(path))):
        expected["model"] = expected["model"] or found.model
        file = state_dict.read(published.fetch(found, progress=progress))
        network = network_of(
            file,
            where=str(path),
            **expected,
            restate=lambda usual: restate(found.restate(usual)),
            partial=partial,
            **options,
        )
        return dataclasses.replace(network, notes=())  # the publisher says what is presumed of other files
    if not os.path.exists(path):
        raise InputError(f"{path} does not exist (allowed: a run folder or a weight file)")
    if step != "last":
        raise InputError(f"{path} is a weight file, which has no checkpoint {step!r} (allowed: a run folder)")
    file = state_dict.read(Path(path))
    network = network_of(file, where=str(path), **expected, restate=restate, partial=partial, **options)
    for note in network.notes:
        print(printable(f"note: {note}"), file=sys.stderr)
    return network


def network_of(
    file: state_dict.WeightFile,
    *,
    where: str,
    model: str | None = None,
    num_classes: int | None = None,
    restate: Restate = unchanged,
    partial: bool = False,
    **options: Any,
) -> TrainedModel:
    """Builds a network from the contents of a weight file; see `load_network`. `where` is its path for error messages.

    Raises:
        InputError: see `load_network`.
    """
    model = None if model is None else absolute_guest(model)
    spec = weights.read_spec(file, where=where, model=model)
    if spec is None:
        if any(_in_our_names(arrays) for arrays in file.state_dicts.values()):
            raise InputError(
                f"{where} has lost the metadata of the network that weight files carry: write it again from its run "
                "folder"
            )
        network = _from_theirs(file, where, model=model, restate=restate, partial=partial, **options)
        _check_expected(network.spec, where, model=None, num_classes=None if network.missing else num_classes)
    else:
        _check_expected(spec, where, model=model, num_classes=num_classes)
        spec = dataclasses.replace(spec, preprocessing=restate(spec.preprocessing))
        _check_classes(spec, where)
        network = _from_ours(file, spec, where, options, partial=partial)
    _check_classes(network.spec, where)
    return network


def _from_theirs(file: state_dict.WeightFile, where: str, **arguments: Any) -> TrainedModel:
    """The network in a file of another library; tensors of it that are not read are told, and may be why it fails."""
    unread = file.describe_unread()
    try:
        network = third_party.read_network(file, where=where, **arguments)
    except InputError as error:
        raise InputError(f"{error}; {where} has {unread}" if unread else str(error)) from None
    return dataclasses.replace(network, notes=(*network.notes, f"{where} has {unread}")) if unread else network


def _from_ours(
    file: state_dict.WeightFile, spec: ModelSpec, where: str, options: Mapping[str, Any], *, partial: bool
) -> TrainedModel:
    """The network in a weight file that we wrote, in our names or torchvision's."""
    if unfit := sorted({"state_dict", "rename", "channel_order"} & options.keys()):
        raise InputError(f"{where} says which network it holds: leave {', '.join(unfit)} out")
    spec = _with_options(spec, options, where)
    leaves, shapes = file.state_dicts[""], shapes_of(spec.shapes())
    if not _in_our_names(leaves):
        table = torchvision.layout(spec.model, spec.preprocessing.image_size).table
        there = mapping.without_layers(table, shapes, mapping.missing_layers(table, leaves, shapes) if partial else ())
        leaves = mapping.to_ours(table, leaves, there, where=f"{where}, as {spec.model}")
    return from_leaves(spec, leaves, where=where, missing=shapes.keys() - leaves.keys() if partial else ())


def _check_expected(spec: ModelSpec, where: str, *, model: str | None, num_classes: int | None) -> None:
    if model not in (None, spec.model):
        raise InputError(f"{where} holds the weights of {spec.model}, not of {model}")
    if num_classes not in (None, spec.num_logits):
        raise InputError(f"{where} has {spec.num_logits} logits, not {num_classes}")


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
    from resnet_alexnet.workdir import checkpoint  # here, because orbax takes long to import

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
