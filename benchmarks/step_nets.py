"""The networks of benchmarks/step.py, and how our weights and torch's correspond."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_alexnet.errors import InputError, check_name


@dataclass(frozen=True)
class Net:
    """A network that is compared.

    Attributes:
        peers: whose it also is, the most usual first: "torchvision", "timm", "plain" (written for these benchmarks).
        batch_size: images of a step on a CPU.
        gpu_batch_size: images of a step on a GPU.
        cifar: whether it is for images of 32 pixels and ten classes, else 224 and 1,000.
        dropout: whether it has dropout, so that a step of training is random.
    """

    peers: tuple[str, ...]
    batch_size: int
    gpu_batch_size: int
    cifar: bool = False
    dropout: bool = False


NETS = {
    "alexnet": Net(("plain",), 64, 1024, dropout=True),
    "alexnet_owt": Net(("torchvision",), 64, 1024, dropout=True),
    "resnet18": Net(("torchvision", "timm"), 16, 512),
    "resnet50": Net(("torchvision", "timm"), 16, 256),
    "resnet152": Net(("torchvision", "timm"), 8, 128),
    "cifar_resnet8": Net(("plain",), 128, 128, cifar=True),
    "cifar_resnet20": Net(("plain",), 128, 128, cifar=True),
    "cifar_resnet56": Net(("plain",), 128, 128, cifar=True),
    "cifar_resnet110": Net(("plain",), 128, 128, cifar=True),
}


RESIDENT_IMAGES = 50_000  # as in CIFAR


def find_net(model: str) -> Net:
    """The network called `model`.

    Raises:
        InputError: there is no such network here.
    """
    check_name("--model", model, NETS)
    return NETS[model]


def sizes(model: str) -> dict[str, int]:
    """The side of the images in pixels, and the number of classes."""
    small = NETS[model].cifar
    return {"image_size": 32 if small else 224, "num_classes": 10 if small else 1000}


def options(model: str) -> dict[str, Any]:
    """The options with which our network computes what torch's does."""
    if model == "alexnet":  # torch normalizes over the maps of both towers, and divides alpha by their number
        return {"lrn_across_towers": True, "lrn_alpha_over_size": True}
    from resnet_alexnet.pretrained.torchvision import layout

    found = layout(model, sizes(model)["image_size"])
    return {**found.options, **found.in_training}


def config_of(
    model: str, *, batch_size: int, precision: str, dropout: bool = True, resident: bool = False, **fields: Any
) -> Any:
    """The config of a run of our network whose step does what torch's does, on made-up images.

    Args:
        model: the network.
        batch_size: images per step.
        precision: "float32" or "bfloat16".
        dropout: leave it out if False.
        resident: keep the images on the device, and on a GPU dispatch several steps at once, as for small images.
        **fields: of the config, besides; fields of groups are written group__field.
    """
    from resnet_alexnet.workdir.config import load_config

    config, own = load_config("default"), sizes(model)
    own_options = {**options(model), **({"dropout": 0.0} if NETS[model].dropout and not dropout else {})}
    config.update_from_flattened_dict(
        {
            "batch_size": batch_size,
            "num_steps": 1_000_000,
            "precision": precision,
            "steps_per_call": 0 if resident else 1,
            "model.name": model,
            **{f"model.{name}": value for name, value in own_options.items()},
            "dataset.name": "synthetic",
            "dataset.num_classes": own["num_classes"],
            "dataset.num_examples": RESIDENT_IMAGES if resident else 10 * batch_size,
            "dataset.channels": 3,
            "dataset.on_device": "yes" if resident else "no",
            "preprocess.image_size": own["image_size"],
            "preprocess.mean": "none",
            "augment.pad": 0,
            "augment.flip": False,
            "optim.learning_rate": 0.001,  # so small that the second loss does not hang on rounding
            "optim.update_rule": "optax",
            "schedule.name": "constant",
            **{name.replace("__", "."): value for name, value in fields.items()},
        }
    )
    return config


def to_ours(model: str, arrays: Mapping[str, np.ndarray], spec: Any) -> dict[str, np.ndarray]:
    """Torch's weights, by their names in its state dict, as ours, by the names of `TrainedModel.leaves`.

    Raises:
        InputError: they are not the weights of this network.
    """
    from resnet_alexnet.pretrained import mapping, torchvision
    from resnet_alexnet.pretrained.network import shapes_of

    table = _alexnet_table() if model == "alexnet" else torchvision.layout(model, sizes(model)["image_size"]).table
    return mapping.to_ours(table, arrays, shapes_of(spec.shapes()), where=f"torch's {model}")


def _alexnet_table() -> Any:
    """The layers of `torch_nets.AlexNet`: its towers lie behind one another, ours have an axis of theirs."""
    from resnet_alexnet.pretrained.mapping import LINEAR, MAP_LINEAR, Kind, Leaf

    towers = Kind(
        {
            "kernel": Leaf(
                "weight",
                lambda x: x.transpose(0, 4, 3, 1, 2).reshape(-1, *x.transpose(3, 1, 2, 0, 4).shape[:3]),
                lambda x, shape: x.reshape(shape[0], shape[4], shape[3], *shape[1:3]).transpose(0, 3, 4, 2, 1),
            ),
            "bias": Leaf("bias", lambda x: x.reshape(-1), lambda x, shape: x.reshape(shape)),
        }
    )
    return ((r"conv(\d)", r"conv\1", towers), ("fc6", "fc6", MAP_LINEAR), (r"fc([78])", r"fc\1", LINEAR))


# What is compared, with the greatest difference in parts of the largest number. In bfloat16 a number has three digits,
# and a deep network adds up the errors of its layers. At initialization the gradient of a deep network amplifies
# rounding: torch's own two layouts differ by 1e-3 in the loss after a step.
COMPARED: dict[str, tuple[Callable[[Mapping[str, Any]], Any], dict[str, float]]] = {
    "loss": (lambda about: about["losses"][:1], {"float32": 1e-4, "bfloat16": 2e-2}),
    "mean loss of two steps": (lambda about: about["losses"][1:], {"float32": 5e-3, "bfloat16": 5e-2}),
    "logits": (lambda about: np.load(about["logits"]), {"float32": 1e-3, "bfloat16": 1e-1}),
}


def check_same(said: Mapping[str, Mapping[str, Any]], *, precision: str) -> list[str]:
    """Compares the losses of the first steps, or the logits, that the processes of a part report.

    Returns:
        What was compared, a line for each process beside the first of torch.

    Raises:
        InputError: they differ by more than rounding.
    """
    comparable = {name: about for name, about in said.items() if "losses" in about or "logits" in about}
    first = next((name for name in comparable if not name.startswith("ours")), None)
    lines = []
    for name, about in comparable.items():
        if first is None or name == first:
            continue
        for kind in ("loss", "mean loss of two steps") if "losses" in about else ("logits",):
            read, allowed = COMPARED[kind]
            own, theirs = (np.asarray(read(each), np.float64) for each in (about, comparable[first]))
            difference = float(np.abs(own - theirs).max() / np.abs(theirs).max())
            lines.append(f"{kind} of {name} and {first}: equal but for {difference:.1e} of the largest")
            if not difference <= allowed[precision]:  # NaN too
                raise InputError(
                    f"{name} computes another {kind} than {first}: the difference is {difference:.1e} of the largest "
                    f"(allowed: {allowed[precision]:g} in {precision}), so their speed cannot be compared"
                )
    return lines
