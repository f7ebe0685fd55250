"""Decoding, resizing and cropping of photographs."""
