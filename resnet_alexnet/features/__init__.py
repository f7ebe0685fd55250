"""Features of a trained network: at any layer, their nearest neighbors, and the first kernels."""
