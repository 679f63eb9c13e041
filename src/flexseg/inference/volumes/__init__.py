"""Volumes in, label volumes out: slices along one or several axes, and where they come from."""
