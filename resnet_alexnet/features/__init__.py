"""Features of a trained network: at any layer, their nearest neighbors, the first kernels, and signals by layer."""
