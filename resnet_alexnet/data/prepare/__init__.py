"""Prepares a data set once, so that training reads it fast: python -m resnet_alexnet.data.prepare --help."""
