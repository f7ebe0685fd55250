"""The networks of torchvision, timm and the CIFAR repositories in torch, randomly initialized, to compare ours with."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[parity]'")
_REASON = "torchvision and timm are not installed: pip install --no-deps torchvision timm"
from benchmarks import torch_nets  # noqa: E402  prepares the import of torchvision
from benchmarks.torch_nets import AlexNet, CifarBlock, CifarResNet  # noqa: E402, F401

torchvision = pytest.importorskip("torchvision", reason=_REASON)
timm = pytest.importorskip("timm", reason=_REASON)
nn, F = torch.nn, torch.nn.functional
torch.set_num_threads(1)  # its threads wait in loops that cost more than they gain beside jax's

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


def create(peer: str, model: str, *, num_classes: int = 10, active: bool = False):
    """A peer's network by our name of it, the same at every call, whose normalizations do something of their own.

    With `active`, hardly any unit is so near to where the ReLU bends that rounding decides on which side it lies: then
    gradients too can be compared. Inside a block half the units are on one side, half on the other.
    """
    net = torch_nets.create({"cifar": "plain"}.get(peer, peer), model, num_classes=num_classes)
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, *((0.3, 0.5) if active else (0.5, 1.2)))
            nn.init.uniform_(module.bias, *((3.0, 4.0) if active else (-0.3, 0.3)))
            if active and (name in ("bn1",) or name.endswith(".bn1")):
                module.bias.data[::2] *= -1
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


def state_dict(net) -> dict[str, np.ndarray]:
    """Its weights as arrays."""
    return {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


def images(size: int, *, batch: int = 2, scale: float = 1.0):
    """Random images, as ours and as torch's."""
    image = scale * np.random.default_rng(1).standard_normal((batch, size, size, 3)).astype(np.float32)
    return image, torch.tensor(image.transpose(0, 3, 1, 2))


def layer_outputs(net, image) -> dict[str, np.ndarray]:
    """What every convolution, normalization and linear layer gives, by its name in torch, channels last."""
    outputs = {}

    def record(name):
        def hook(module, args, output):
            array = output.detach().numpy().copy()  # what follows may work in its place
            outputs[name] = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array

        return hook

    hooks = [
        module.register_forward_hook(record(name))
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.LocalResponseNorm | nn.Linear)
    ]
    with torch.no_grad():
        outputs["logits"] = net(image).numpy()
    for hook in hooks:
        hook.remove()
    return outputs
