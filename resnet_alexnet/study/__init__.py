"""Sweeps: many runs of one recipe, as a local pool of processes or a Slurm array. Uses no jax: runs are processes."""
