"""Looks inside a trained network: features at any layer, nearest neighbors, first kernels."""
