"""Images and labels: sources with random access, and the loader that turns a step number into a batch. No jax."""
