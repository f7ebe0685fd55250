"""Prepares a data set once for fast reading in training: see python -m resnet_alexnet.data.prepare --help."""
