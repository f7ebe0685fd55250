"""Encoded photographs: decoding, resizing and cropping."""
