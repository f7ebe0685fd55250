"""Features of a trained network: at any layer, nearest neighbors, first kernels, signals and probes."""
