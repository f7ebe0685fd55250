"""Batches by step number, read ahead by threads or worker processes."""
