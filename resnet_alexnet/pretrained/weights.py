"""The project's own weight files: safetensors with the network's spec as metadata."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.files import absolute_guest, atomic_write, is_guest
from resnet_alexnet.models import model_options
from resnet_alexnet.pretrained import mapping, torchvision
from resnet_alexnet.pretrained.network import ModelSpec, TrainedModel, differing_options
from resnet_alexnet.pretrained.state_dict import WeightFile

NAMES = ("ours", "torchvision")


def save(network: TrainedModel, path: Path, *, names: str = "ours") -> None:
    """Writes a weight file atomically. The safetensors library for torch reads it too.

    Args:
        network: the network.
        path: the file; replaced if it exists.
        names: "ours", the names of `TrainedModel.leaves`; or "torchvision", the names and shapes that
            `load_state_dict` of torchvision's module takes (for CIFAR networks see `torchvision`).

    Raises:
        InputError: the network cannot be written with these names, or the file cannot be written.
    """
    check_name("names", names, NAMES)
    leaves = {name: leaf for name, leaf in network.leaves().items() if name not in network.missing}
    if names == "torchvision":
        leaves = mapping.to_theirs(_torch_layout(network.spec).table, leaves)
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in leaves.items()}
    text = json.dumps(network.spec.to_json())
    metadata = {"format": "pt", "network": text, "digest": _digest(arrays, text)}
    with atomic_write(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(arrays, metadata))


def read_spec(file: WeightFile, *, where: str, model: str | None = None) -> ModelSpec | None:
    """Reads the spec in the metadata of a file that `save` wrote; None for other files.

    Args:
        file: the contents of the file.
        where: the path of the file, for error messages.
        model: the expected model. If the file holds a user's own network, this must name its Python file: a weight file
            never makes us run a user's code.

    Raises:
        InputError: spec or weights have changed since they were saved, or a user's own network is not named.
    """
    text = file.metadata.get("network")
    if text is None or not ("digest" in file.metadata or '"preprocessing"' in text):  # of another library
        return None
    if file.metadata.get("digest") != _digest(file.state_dicts[""], text):
        raise InputError(f"{where} is damaged: its contents do not match its digest")
    try:
        values = json.loads(text)
        if isinstance(values, dict) and is_guest(named := str(values.get("model"))):
            given = absolute_guest(model or "")
            if given.rpartition(":")[2] != named.rpartition(":")[2]:
                raise InputError(
                    f"it holds a user's own network, {named}, whose code is run only if it is named: "
                    f"pretrained.load_model({where!r}, 'path/to/{Path(named).name}'), or use its run folder"
                )
            values["model"] = given
        return ModelSpec.from_json(values)
    except ValueError as error:  # an InputError too
        raise InputError(f"{where}: {error}") from None


def _torch_layout(spec: ModelSpec) -> torchvision.TorchLayout:
    """The torch layout of a network.

    Raises:
        InputError: torch's code has no such network, or computes something else.
    """
    layout = torchvision.layout(spec.model, spec.preprocessing.image_size)
    widths = {name: None for name in ("width", "stem_width") if name in model_options(spec.model)}
    if others := differing_options(spec, {**layout.options, **widths}):
        theirs = ", ".join(f"{name}={layout.options.get(name, 'the default')!r}" for name in others)
        raise InputError(
            f"this {spec.model} cannot be written with torchvision's names, which imply {theirs}: write it with ours"
        )
    return layout


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """A hash of the name, type, shape and bits of every array, and of the spec."""
    hasher = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hasher.update(f"{name} {array.dtype} {array.shape}\n".encode())
        hasher.update(array.reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()
