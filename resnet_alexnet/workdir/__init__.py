"""The run folder: what a run is, and what it leaves behind."""
