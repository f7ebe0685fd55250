"""Tests trained networks with the papers' test protocols."""
