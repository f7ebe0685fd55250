"""The papers' optimizer as Optax transformations: the update rule, the schedules and the plateau."""
