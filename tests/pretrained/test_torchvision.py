"""Weights of ours in torch's modules: strictly loaded, with the same results."""

import numpy as np
import pytest

from resnet_alexnet import pretrained
from resnet_alexnet.pretrained import torchvision, weights
from tests.support import torch_peers
from tests.support.networks import assert_same_network, create_network
from tests.support.torch_peers import torch


@pytest.mark.parametrize(
    ("peer", "model"),
    [("torchvision", "alexnet_owt"), ("torchvision", "resnet18"), ("timm", "resnet50"), ("cifar", "cifar_resnet20")],
)
def test_what_is_written_in_torchvisions_names_its_module_takes_strictly(peer, model, tmp_path):
    from safetensors.torch import load_file

    path = tmp_path / "x.safetensors"
    size = {"alexnet_owt": 80, "cifar_resnet20": 32}.get(model, 64)
    layout = torchvision.layout(model, size)
    network = create_network(model, size=size, **layout.options)
    weights.save(network, path, names="torchvision")
    net = torch_peers.create(peer, model, num_classes=3)
    net.load_state_dict(load_file(path), strict=True)
    ours, theirs = torch_peers.images(size)
    with torch.no_grad():
        expected = net(theirs).numpy()
    logits = np.asarray(network.module()(ours))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert_same_network(pretrained.load_network(path), network)
