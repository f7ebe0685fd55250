"""Weight files of our own: safetensors with the network's description beside the weights."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.files import absolute_guest, atomic_write, is_guest
from resnet_alexnet.pretrained import mapping, torchvision
from resnet_alexnet.pretrained.network import ModelSpec, TrainedModel, differing_options
from resnet_alexnet.pretrained.state_dict import StateDict

NAMES = ("ours", "torchvision")


def save(network: TrainedModel, path: Path, *, names: str = "ours") -> None:
    """Writes a weight file, whole or not at all; torch reads it too.

    Args:
        network: what is written, description and weights.
        path: a file, which is replaced if it is there.
        names: "ours", those of `TrainedModel.leaves`; or "torchvision", names and forms that its module's
            `load_state_dict` takes (of CIFAR nets those that circulate, see `torchvision`).

    Raises:
        InputError: the network cannot be had in these names, or the file cannot be written.
    """
    check_name("names", names, NAMES)
    leaves = network.leaves()
    if names == "torchvision":
        leaves = mapping.to_theirs(_torch_layout(network.spec).table, leaves)
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in leaves.items()}
    text = json.dumps(network.spec.to_json())
    metadata = {"format": "pt", "network": text, "digest": _digest(arrays, text)}
    with atomic_write(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(arrays, metadata))


def description_of(contents: StateDict, *, where: str, model: str | None = None) -> ModelSpec | None:
    """The description beside the weights in a file that `save` wrote; None for a file of others.

    Args:
        contents: of the file.
        where: the file, in errors.
        model: the model that the file is expected to hold. A weight file makes nobody run code: if it holds a user's
            own network, this must name the Python file, wherever it now lies.

    Raises:
        InputError: description or weights are not those that were saved, or a user's own network is not named.
    """
    text = contents.metadata.get("network")
    if text is None:
        return None
    if contents.metadata.get("digest") != _digest(contents.arrays, text):
        raise InputError(f"{where} is damaged: its contents are not those that were saved")
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
    """The form of a network that torch's code computes too.

    Raises:
        InputError: torch's code computes something else.
    """
    layout = torchvision.layout(spec.model, spec.preprocessing.image_size)
    if others := differing_options(spec, layout.options):
        theirs = ", ".join(f"{name}={layout.options[name]!r}" for name in others)
        raise InputError(
            f"this {spec.model} cannot be written in torchvision's names: there it would be another network, "
            f"with {theirs}; write it in ours"
        )
    return layout


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """A hash of every array's name, type, shape and bits, and of the description."""
    hasher = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hasher.update(f"{name} {array.dtype} {array.shape}\n".encode())
        hasher.update(array.reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()
