"""Classifies photographs of any size with a trained network."""
