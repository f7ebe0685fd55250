"""Many runs: sweeps, as processes or a Slurm array, and runs side by side. Uses no jax: runs are processes."""
