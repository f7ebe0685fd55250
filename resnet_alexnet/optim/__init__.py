"""The papers' optimizer as Optax transformations: the update rule, the learning rate schedules and the plateau."""
