"""The papers' optimiser as Optax transformations: the update rule, the schedules and the plateau."""
