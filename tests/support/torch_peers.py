"""The networks of torchvision, timm and the CIFAR repositories in torch, randomly initialized, to compare ours with."""

import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[parity]'")
_REASON = "torchvision and timm are not installed: pip install --no-deps torchvision timm"
# Its builds register shapes for compiled operators, which the builds for other torches lack; no model needs them.
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("_meta_registrations"))
torchvision = pytest.importorskip("torchvision", reason=_REASON)
timm = pytest.importorskip("timm", reason=_REASON)
nn, F = torch.nn, torch.nn.functional
torch.set_num_threads(1)  # its threads wait in loops that cost more than they gain beside jax's

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


class AlexNet(nn.Module):
    """[K12] in torch: groups for towers, and torch's own local response normalization, across them."""

    def __init__(self, num_classes=10, **norm):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 96, 11, 4, padding=2), nn.LocalResponseNorm(**norm)
        self.conv2, self.norm2 = nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.LocalResponseNorm(**norm)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6, self.fc7, self.fc8 = nn.Linear(256, 4096), nn.Linear(4096, 4096), nn.Linear(4096, num_classes)

    def forward(self, x):
        x = F.max_pool2d(self.norm1(F.relu(self.conv1(x))), 3, 2)
        x = F.max_pool2d(self.norm2(F.relu(self.conv2(x))), 3, 2)
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = F.max_pool2d(F.relu(self.conv5(x)), 3, 2).flatten(1)
        return self.fc8(F.relu(self.fc7(F.relu(self.fc6(x)))))


class CifarBlock(nn.Module):
    """[H15] section 4.2, with as many zero channels before the identity's as behind where the width grows."""

    def __init__(self, in_channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.new = stride, (width - in_channels) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new, self.new)))


class CifarResNet(nn.Module):
    """[H15] section 4.2, under the names of the repositories."""

    def __init__(self, depth, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        channels = 16
        for stage, width in enumerate((16, 32, 64)):
            blocks = []
            for i in range((depth - 2) // 6):
                blocks.append(CifarBlock(channels, width, 2 if stage > 0 and i == 0 else 1))
                channels = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def create(peer: str, model: str, *, num_classes: int = 10, active: bool = False):
    """A peer's network by our name of it, the same at every call, whose normalizations do something of their own.

    With `active`, hardly any unit is so near to where the ReLU bends that rounding decides on which side it lies: then
    gradients too can be compared. Inside a block half the units are on one side, half on the other.
    """
    torch.manual_seed(0)
    if peer == "cifar":
        net = CifarResNet(int(model.removeprefix("cifar_resnet")), num_classes)
    elif peer == "timm":
        net = timm.create_model(model, num_classes=num_classes, zero_init_last=False)
    else:
        net = getattr(torchvision.models, {"alexnet_owt": "alexnet"}.get(model, model))(num_classes=num_classes)
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
