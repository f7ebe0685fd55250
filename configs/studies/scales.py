"""What the studies share: networks and recipes at each scale, and how many runs each setting has.

The scales are those of `resnet_alexnet.study.design`. Margins are in points of error: differences below them count as
none. All this was fixed before the first run.

smoke     ResNet-8 and the like for 12 steps
cpu       4,500 images of Fashion-MNIST, 28x28, gray; ResNets with 8 channels in the first stage instead of 16
gpu       CIFAR-10 as in [H15] section 4.2: 64,000 steps of 128 images
imagenet  as published
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from resnet_alexnet.study import papers
from resnet_alexnet.study.design import Arm, ScaleError
from resnet_alexnet.study.published import Published

Fields = Mapping[str, object]

MARGIN = {"smoke": 1.0, "cpu": 1.0, "gpu": 0.5, "imagenet": 0.5}  # points of error
MANY_SEEDS = {"smoke": 1, "cpu": 3, "gpu": 5, "imagenet": 1}
ONE_SEED = {"smoke": 1, "cpu": 1, "gpu": 3, "imagenet": 1}
CPU_STEPS = 350  # 5 epochs of 4,500 images in batches of 64
_SHORT = {"num_steps": 12, "eval.every_steps": 6, "log.every_steps": 3, "checkpoint.every_steps": 0}
_CPU = {
    "num_steps": CPU_STEPS,
    "eval.every_steps": 35,
    "log.every_steps": 14,
    "checkpoint.every_steps": 70,  # each epoch: signals are measured over training
    "checkpoint.keep": 5,
}
_RESNET_RATES = {"smoke": (0.1,), "cpu": (0.03, 0.1, 0.3), "gpu": (0.03, 0.1, 0.3), "imagenet": (0.1,)}
_ALEXNET_RATES = {"smoke": (0.05,), "cpu": (0.02, 0.05, 0.1), "gpu": (0.003, 0.01, 0.03), "imagenet": (0.01,)}


def resnet(
    scale: str, depth: int, fields: Fields = MappingProxyType({}), *, name: str = "", plain: bool = False
) -> Arm:
    """A residual network, or the plain one of the same depth."""
    family = "plain" if plain else "resnet"
    name = name or f"{'plain' if plain else 'ResNet'}-{depth}"
    if scale == "imagenet":
        return Arm(name, f"{family}{depth}", fields, _RESNET_RATES[scale])
    if scale == "gpu":
        return Arm(name, f"cifar_{family}:{depth}", fields, _RESNET_RATES[scale])
    shared = {**(_SHORT if scale == "smoke" else _CPU), "model.name": f"cifar_{family}{depth}", "model.width": 8}
    return Arm(name, "quickstart", {**shared, **fields}, _RESNET_RATES[scale])


def alexnet(scale: str, fields: Fields = MappingProxyType({}), *, name: str = "AlexNet") -> Arm:
    """AlexNet: on ImageNet that of the paper, else Krizhevsky's network for CIFAR-10."""
    if scale == "imagenet":
        return Arm(name, "alexnet", fields, _ALEXNET_RATES[scale])
    if scale == "gpu":
        return Arm(name, "cifar_alexnet", fields, _ALEXNET_RATES[scale])
    return Arm(name, "quickstart_alexnet", {**(_SHORT if scale == "smoke" else _CPU), **fields}, _ALEXNET_RATES[scale])


def top1(where: str, model: str, *, source: str = "[H15]", options: str = "", kind: str = "one run") -> Published:
    """The top-1 error on ImageNet that a paper gives for a network."""
    fields = {"source": source, "where": where, "model": model, "options": options, "kind": kind}
    return papers.one(quantity="top-1 error", split="validation", **fields)


def on_cifar(model: str, kind: str = "one run") -> Published:
    """The test error on CIFAR-10 in [H15] table 6."""
    return papers.one(source="[H15]", where="table 6", quantity="test error", model=model, kind=kind)


def only_at(scale: str, scales: Sequence[str], reason: str) -> None:
    """Says that a study exists at some scales only.

    Raises:
        ScaleError: `scale` is not among them.
    """
    if scale not in scales:
        raise ScaleError(reason)
