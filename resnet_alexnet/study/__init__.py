"""Many runs, side by side and beside what was published: sweeps, comparisons, tables. No jax: runs are processes."""
