"""The layers of our networks as torch computes them, with the same weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[parity]'")
F = torch.nn.functional


def tensor(variable):
    return torch.tensor(np.asarray(variable.get_value()))


def conv(x, layer, strides=1, padding=0, groups=1):
    """conv2d with the weights of one of our convolutions; those of towers are put one behind the other."""
    kernel = tensor(layer.kernel)
    kernels = kernel if kernel.ndim == 5 else kernel[None]
    weight = torch.cat([k.permute(3, 2, 0, 1) for k in kernels])
    bias = None if layer.bias is None else tensor(layer.bias).reshape(-1)
    return F.conv2d(x, weight, bias, strides, padding, groups=groups)


def fc(x, layer):
    return F.linear(x, tensor(layer.kernel).T, tensor(layer.bias))


def fc_of_map(x, layer):
    kernel = tensor(layer.kernel)
    return F.linear(x.flatten(1), kernel.permute(3, 2, 0, 1).flatten(1), tensor(layer.bias))


def pool(x):
    return F.max_pool2d(x, 3, 2)


class TorchResNet:
    """torchvision's forward pass: stride in the 3x3, projections where shapes change, pool padding 1."""

    def __init__(self, model, train):
        self.model, self.train, self.running = model, train, []

    def conv_norm(self, x, layer, strides=1, padding=0):
        norm = layer.norm
        mean, var = tensor(norm.mean), tensor(norm.var)
        x = conv(x, layer.conv, strides, padding)
        x = F.batch_norm(x, mean, var, tensor(norm.scale), tensor(norm.bias), training=self.train, momentum=0.1)
        self.running.append((norm, mean, var))
        return x

    def block(self, x, block, strides):
        if hasattr(block, "conv3"):
            y = F.relu(self.conv_norm(x, block.conv1))
            y = F.relu(self.conv_norm(y, block.conv2, strides, 1))
            y = self.conv_norm(y, block.conv3)
        else:
            y = F.relu(self.conv_norm(x, block.conv1, strides, 1))
            y = self.conv_norm(y, block.conv2, 1, 1)
        if y.shape != x.shape:
            x = self.conv_norm(x, block.shortcut.projection, strides)
        return F.relu(x + y)

    def __call__(self, x):
        x = F.relu(self.conv_norm(x, self.model.stem.conv1, 2, 3))
        x = F.max_pool2d(x, 3, 2, 1)
        for stage, blocks in enumerate(self.model.stages):
            for i, block in enumerate(blocks):
                x = self.block(x, block, 2 if stage > 0 and i == 0 else 1)
        return fc(x.mean((2, 3)), self.model.head)
