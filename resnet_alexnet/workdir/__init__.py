"""The run folder: its config, metrics, checkpoints and results."""
