"""Training: the loop, the step and their parts."""
