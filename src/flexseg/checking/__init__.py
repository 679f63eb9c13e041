"""Checks of a config and of the data it points to, before any training."""
