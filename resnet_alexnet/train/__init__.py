"""Training: the loop, the step and what they are built of."""
