"""The names under which the networks circulate, brought to torchvision's.

A name is a prefix, a layer and an array of the layer: "module.", "layer1.0.conv2" and "weight". What follows reads the
layer by the patterns of many libraries; docs/weights.md lists them with their sources. Stages, blocks and the layers of
AlexNet are counted in the order of their numbers, so it does not matter whether a library counts from 0, 1 or 2.
"""

import bisect
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from resnet_alexnet.errors import InputError

Arrays = dict[str, np.ndarray]
_ALL_STAGES = -1  # of blocks that are counted through all stages


class Layer(NamedTuple):
    """A layer of a network: its kind, its number in its block or in the network, and its stage and block."""

    kind: str
    index: int
    place: tuple[int, int] | None = None


_WRAPPERS = re.compile(r"(?<![^.])(module|_orig_mod|_forward_module|_fsdp_wrapped_module)\.")  # of torch, at any depth
_ARRAYS = ("weight", "bias", "running_mean", "running_var")
DROPPED = ("num_batches_tracked", "n_averaged")  # counters, which no prediction needs
_STAGE = r"(?:encoder\.)?(?:layers?\.?|stages?[._]?|res|)(?P<stage>\d{1,4})\."
_BLOCK = rf"{_STAGE}(?:layers\.|unit)?(?P<block>\d{{1,4}})\.(?:body\.)?"
_FLAT_BLOCK = r"blocks?\.(?P<block>\d{1,4})\."
_SHORTCUT = r"(?:downsample|shortcut|skip|identity_conv)"
_RESIDUAL = {
    "stem_conv": r"conv[01]?|conv_1_3x3|stem\.conv1?|init_block\.(?:conv\.)?conv|(?:embedder\.){2}convolution|0",
    "stem_norm": r"(?:bn|norm)[01]?|bn_1|stem\.(?:bn|norm)1?|stem\.conv1\.norm|init_block\.(?:conv\.)?bn"
    r"|(?:embedder\.){2}normalization|1",
    "head": r"(?:head\.)?(?:fc|linear|classifier|last_linear|fcout|output|logits)(?:\.\d)?|head",
    **{
        kind: rf"(?:{_BLOCK}|{_FLAT_BLOCK.replace('block>', 'flat>')})(?:{inner})"
        for kind, inner in {
            "conv": r"conv_?(?P<index>[1-3abc])(?:\.conv)?|layer\.(?P<from_0>[0-2])\.convolution",
            "norm": r"(?:bn|norm)_?(?P<index>[1-3abc])|conv(?P<index_2>[1-3])\.(?:bn|norm)"
            r"|layer\.(?P<from_0>[0-2])\.normalization",
            "shortcut_conv": rf"{_SHORTCUT}(?:\.(?:0|conv1?|convolution))?",
            "shortcut_norm": rf"{_SHORTCUT}\.(?:1|bn1?|norm1?|normalization)",
        }.items()
    },
}
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|avg|average|averaged)(?![a-z])")
_ANY_HEAD = re.compile(r"(?:.*\.)?(?:head|fc|linear|classifier|last_linear|fcout|output|logits)\..*")
_ALEXNET = {"features": r"(?:features\.)?(?P<index>\d{1,4})", "classifier": r"classifier\.(?P<index>\d{1,4})"}
# What the names of a library say that arrays do not show: options of the model. Source: fb.resnet.torch's networks for
# CIFAR, which D-X-Y's follow; pytorchcv's resnet50; detectron2's networks, which are He's.
_IMPLIED = {
    re.compile(r"(?:.*\.)?conv_[ab]\..*"): {"shortcut_padding": "behind"},
    re.compile(r"(?:.*\.)?stage\d\.unit\d+\.body\..*"): {"stride_in": "1x1"},
    re.compile(r"(?:.*\.)?res\d\.\d+\.conv\d\.norm\..*"): {"stride_in": "1x1"},
}


@dataclass(frozen=True)
class NamedNetwork:
    """The arrays of one network in a file.

    Attributes:
        name: where they are in the file: the keys that lead to them and the prefix of their names; "" at the top.
        arrays: the arrays by torchvision's names; the head of every ResNet is "fc".
        unexpected: the other names with the same prefix, which may be of layers that the networks of the papers lack.
        left_out: the names without the prefix.
        implied: options of the model that the names imply, as those of some libraries do.
        prefix: what is before the names.
    """

    name: str
    arrays: Arrays
    unexpected: tuple[str, ...]
    left_out: tuple[str, ...]
    implied: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prefix: str = ""

    @property
    def heads(self) -> tuple[str, ...]:
        """The unexpected names that are of last layers, such as those of several layers.

        Source: fastai, whose networks are a sequence of all but the last layers, "0.", and of new ones, "1.".
        """
        is_first = re.search(r"(?<![^.])0\.$", self.prefix) and "fc.weight" not in self.arrays
        behind = f"{self.prefix.removesuffix('0.')}1." if is_first else None
        return tuple(
            name for name in self.unexpected if _ANY_HEAD.fullmatch(name) or (behind and name.startswith(behind))
        )

    @property
    def averaged(self) -> bool:
        """Whether they are a moving average of weights, by their name."""
        return _AVERAGED.search(self.name.lower()) is not None


def rename(state_dicts: Mapping[str, Arrays], rules: Sequence[tuple[str, str]], *, where: str) -> dict[str, Arrays]:
    """Replaces what matches each regular expression in the names; an array whose name becomes "" is left out.

    Raises:
        InputError: a rule is not a regular expression, or matches no name, or two arrays get the same name.
    """
    renamed = dict(state_dicts)
    for old, new in rules:
        try:
            named = {key: [re.sub(old, new, name) for name in arrays] for key, arrays in renamed.items()}
        except (re.error, IndexError) as error:
            raise InputError(f"--rename={old}={new} is not a regular expression and its replacement: {error}") from None
        if all(named[key] == list(arrays) for key, arrays in renamed.items()):
            example = next((name for arrays in renamed.values() for name in arrays), "")
            raise InputError(f"--rename={old}={new} changes no name in {where} (they are like {example!r})")
        for key, arrays in renamed.items():
            kept = [name for name in named[key] if name]
            if twice := next((name for i, name in enumerate(kept) if name in kept[:i]), None):
                raise InputError(f"{where}: --rename={old}={new} gives two arrays the name {twice!r}")
            renamed[key] = {name: array for name, array in zip(named[key], arrays.values(), strict=True) if name}
    return renamed


def find_networks(name: str, arrays: Mapping[str, np.ndarray]) -> list[NamedNetwork]:
    """The networks of the papers in a state dict: one for each prefix under which their names are found.

    Args:
        name: the keys that lead to the state dict, such as "state_dict".
        arrays: its arrays.
    """
    plain = {_WRAPPERS.sub("", key): array for key, array in arrays.items()}
    if len(plain) != len(arrays):
        plain = dict(arrays)
    prefixes = sorted({prefix for key, array in plain.items() if array.ndim == 4 for prefix in _prefixes(key)})
    ordered = sorted(plain)
    read = {prefix: layers for prefix in prefixes if (layers := _read(_inside(plain, ordered, prefix)))}
    full = {prefix: {f"{prefix}{key}" for key in layers} for prefix, layers in read.items()}
    own = [
        prefix
        for prefix in read
        if not any(full[prefix] < full[other] or (full[prefix] == full[other] and other < prefix) for other in read)
    ]
    return [_named(name, prefix, read[prefix], plain, [other for other in own if other != prefix]) for prefix in own]


def _prefixes(key: str) -> list[str]:
    """What could stand before the first layer's name in the name of its kernel."""
    parts = key.split(".")
    layers = ((".".join(parts[:i]), ".".join(parts[i:-1])) for i in range(len(parts)))
    patterns = (_RESIDUAL["stem_conv"], _ALEXNET["features"])
    return [f"{prefix}." if prefix else "" for prefix, layer in layers if any(re.fullmatch(p, layer) for p in patterns)]


def _inside(arrays: Mapping[str, np.ndarray], ordered: Sequence[str], prefix: str) -> Arrays:
    """The arrays whose names have a prefix, without it; `ordered` are all names, sorted."""
    inside: Arrays = {}
    for i in range(bisect.bisect_left(ordered, prefix), len(ordered)):
        if not ordered[i].startswith(prefix):
            break
        inside[ordered[i].removeprefix(prefix)] = arrays[ordered[i]]
    return inside


def _named(
    name: str, prefix: str, layers: Mapping[str, Layer], arrays: Mapping[str, np.ndarray], others: Sequence[str]
) -> NamedNetwork:
    """A network whose names have this prefix, except perhaps those of its head; `others` are of other networks."""
    new_names = {f"{prefix}{key}": _torchvisions(layer, key) for key, layer in layers.items()}
    rest = [key for key in arrays if key not in new_names and _array(key) not in DROPPED]
    rest = [key for key in rest if not key.startswith(tuple(other for other in others if other.startswith(prefix)))]
    inside = {key for key in rest if key.startswith(prefix)}
    outside = [key for key in rest if key not in inside and not key.startswith(tuple(others))]
    rest = [key for key in rest if key in inside or key in set(outside)]
    if not {"fc.weight", "classifier.6.weight"} & set(new_names.values()):
        new_names |= _head_outside(prefix, outside)
    where = ".".join(part for part in (name, prefix.rstrip(".")) if part)
    return NamedNetwork(
        where,
        {new: arrays[key] for key, new in new_names.items()},
        unexpected=tuple(key for key in rest if key not in new_names and (key in inside or _is_layer(arrays, key))),
        left_out=tuple(key for key in outside if key not in new_names and not _is_layer(arrays, key)),
        implied={
            option: value
            for pattern, options in _IMPLIED.items()
            if any(pattern.fullmatch(key) for key in new_names)
            for option, value in options.items()
        },
        prefix=prefix,
    )


def _head_outside(prefix: str, outside: Sequence[str]) -> dict[str, str]:
    """Torchvision's names of a head that has only a part of the prefix, the longest part with which there is one."""
    parts = prefix.split(".")[:-1]
    for count in reversed(range(len(parts))):
        part = "".join(f"{name}." for name in parts[:count])
        heads = {key: f"fc.{_array(key)}" for key in outside if key.startswith(part) and _is_head(key[len(part) :])}
        if heads and len(set(heads.values())) == len(heads):
            return heads
    return {}


def _is_layer(arrays: Mapping[str, np.ndarray], key: str) -> bool:
    """Whether an array is of a layer that may be before or behind the network: not of a loss function or an average."""
    layer = key.rpartition(".")[0]
    kernel = arrays.get(f"{layer}.weight", arrays[key])
    return not _AVERAGED.search(key.lower()) and (kernel.ndim >= 2 or f"{layer}.running_mean" in arrays)


def _is_head(key: str) -> bool:
    layer, _, array = key.rpartition(".")
    return array in _ARRAYS and re.fullmatch(_RESIDUAL["head"], layer) is not None


def _read(arrays: Arrays) -> dict[str, Layer] | None:
    """The layers of a network by the names of their arrays; None if it is none of the papers'."""
    return _read_alexnet(arrays) or _read_residual(arrays)


def _read_residual(arrays: Arrays) -> dict[str, Layer] | None:
    """The layers of a plain or residual network by the names of their arrays; None if it is none."""
    layers = {key: layer for key in arrays if (layer := _residual_layer(key)) is not None}
    heads = [key for key, layer in layers.items() if layer.kind == "head"]
    if len({_array(key) for key in heads}) < len(heads):  # of several layers, which is none of the papers'
        layers = {key: layer for key, layer in layers.items() if key not in heads}
    found = {(layer, _array(key)) for key, layer in layers.items()}
    if not {"stem_conv", "conv"} <= {layer.kind for layer in layers.values()} or len(found) < len(layers):
        return None
    blocks = sorted({layer.place for layer in layers.values() if layer.place is not None})
    if {stage for stage, _ in blocks} == {_ALL_STAGES}:  # of equal sizes, as CIFAR's
        size = max(1, len(blocks) // 3)
        places = {place: (i // size, i % size) for i, place in enumerate(blocks)}
    else:
        stages = sorted({stage for stage, _ in blocks})
        places = {
            place: (stages.index(place[0]), sum(other < place and other[0] == place[0] for other in blocks))
            for place in blocks
        }
    return {
        key: layer if layer.place is None else layer._replace(place=places[layer.place])
        for key, layer in layers.items()
    }


def _residual_layer(key: str) -> Layer | None:
    layer, _, array = key.rpartition(".")
    if array not in _ARRAYS:
        return None
    for kind, pattern in _RESIDUAL.items():
        if match := re.fullmatch(pattern, layer):
            groups = match.groupdict()
            block = groups.get("block") or groups.get("flat")
            number = groups.get("index") or groups.get("index_2")
            index = "123abc".index(number) % 3 if number else int(groups.get("from_0") or 0)
            stage = int(groups["stage"]) if groups.get("stage") else _ALL_STAGES
            return Layer(kind, index + 1, None if block is None else (stage, int(block)))
    return None


def _read_alexnet(arrays: Arrays) -> dict[str, Layer] | None:
    """The layers of AlexNet as torchvision has it, in two sequences; None if it is none."""
    numbers: dict[str, list[int]] = {}
    for kind, pattern in _ALEXNET.items():
        axes = 4 if kind == "features" else 2
        kernels = [key for key, array in arrays.items() if array.ndim == axes and _array(key) == "weight"]
        matches = (re.fullmatch(pattern, key.removesuffix(".weight")) for key in kernels)
        numbers[kind] = sorted(int(match["index"]) for match in matches if match)
    convolutions, linear = numbers["features"], numbers["classifier"]
    first = [arrays[key] for key in ("features.0.weight", "0.weight") if key in arrays]
    if not (0 < len(convolutions) <= 5 and len(linear) <= 3 and first and first[0].shape[2:] == (11, 11)):
        return None
    layers: dict[str, Layer] = {}
    for key in arrays:
        for kind, pattern in _ALEXNET.items():
            match = re.fullmatch(rf"{pattern}\.(?:weight|bias)", key)
            if match and int(match["index"]) in numbers[kind]:
                layers[key] = Layer(kind, numbers[kind].index(int(match["index"])))
    return layers


def _torchvisions(layer: Layer, key: str) -> str:
    """Torchvision's name of an array."""
    inside = f"layer{layer.place[0] + 1}.{layer.place[1]}." if layer.place else ""
    name = {
        "stem_conv": "conv1",
        "stem_norm": "bn1",
        "head": "fc",
        "conv": f"{inside}conv{layer.index}",
        "norm": f"{inside}bn{layer.index}",
        "shortcut_conv": f"{inside}downsample.0",
        "shortcut_norm": f"{inside}downsample.1",
        "features": f"features.{(0, 3, 6, 8, 10)[layer.index % 5]}",
        "classifier": f"classifier.{(1, 4, 6)[layer.index % 3]}",
    }
    return f"{name[layer.kind]}.{_array(key)}"


def _array(key: str) -> str:
    return key.rpartition(".")[2]
