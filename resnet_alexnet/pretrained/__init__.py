"""Trained networks: what they are, their weights, and the files of others in and ours out."""

from resnet_alexnet.pretrained.load import load_model, load_network, network_of

__all__ = ["load_model", "load_network", "network_of"]
