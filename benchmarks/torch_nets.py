"""The papers' networks in torch: torchvision's, timm's, and plain ones where those have none.

Importing torchvision or timm needs none of their compiled operators.
"""

import importlib
import sys
import types

import torch
from torch import nn
from torch.nn import functional as F

# Their builds register shapes for compiled operators, which the builds for other torches lack; no model needs them.
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("_meta_registrations"))


class AlexNet(nn.Module):
    """[K12]: groups for towers, and torch's own local response normalization, across them."""

    def __init__(self, num_classes=10, *, map_size=1, dropout=0.0, **norm):
        """`map_size` is the side of the last map, 6 for images of 224 pixels."""
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 96, 11, 4, padding=2), nn.LocalResponseNorm(**norm)
        self.conv2, self.norm2 = nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.LocalResponseNorm(**norm)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6, self.fc7 = nn.Linear(256 * map_size**2, 4096), nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        """The logits of images, channels first."""
        x = F.max_pool2d(self.norm1(F.relu(self.conv1(x))), 3, 2)
        x = F.max_pool2d(self.norm2(F.relu(self.conv2(x))), 3, 2)
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = F.max_pool2d(F.relu(self.conv5(x)), 3, 2).flatten(1)
        x = self.dropout(F.relu(self.fc6(x)))
        return self.fc8(self.dropout(F.relu(self.fc7(x))))


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
        """The block's output map."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or self.new:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new, self.new))
        return F.relu(y + x)


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
        """The logits of images, channels first."""
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def create(peer: str, model: str, *, num_classes: int) -> nn.Module:
    """The network of `peer` ("torchvision", "timm" or "plain") by our name of it, initialized as the peer does."""
    torch.manual_seed(0)
    if peer == "timm":
        return importlib.import_module("timm").create_model(model, num_classes=num_classes, zero_init_last=False)
    if peer == "torchvision":
        models = importlib.import_module("torchvision.models")
        return getattr(models, {"alexnet_owt": "alexnet"}.get(model, model))(num_classes=num_classes)
    if model == "alexnet":
        return AlexNet(num_classes, map_size=6, dropout=0.5, size=5, alpha=1e-4, beta=0.75, k=2.0)
    return CifarResNet(int(model.removeprefix("cifar_resnet")), num_classes)
